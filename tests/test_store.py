"""The store: many processes, one file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import takewhile
from pathlib import Path
from threading import Thread

import pytest

from sshjobs import states
from sshjobs.errors import StoreError
from sshjobs.locks import Bell
from sshjobs.model import Job, Spec, new_job_id
from sshjobs.store import SLICE, Intent, Store, database, default_home
from sshjobs.store import home as where
from sshjobs.store import schema, slices
from sshjobs.transports.gate import Gate

pytestmark = pytest.mark.quick

ID = "a" * 16


def job(**changes: object) -> Job:
    base = Job(id=new_job_id(), host="h", site_id="c", state=states.PENDING)
    return base._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "home"))


def test_the_home_is_private(store: Store) -> None:
    for name in ("", "specs", "logs", "locks"):
        mode = os.stat(os.path.join(store.home, name)).st_mode
        assert mode & 0o777 == 0o700
    assert os.stat(store.path).st_mode & 0o077 == 0


def test_jobs_come_back_as_they_were(store: Store) -> None:
    one = job(key="k", once=True, timeout=1.5, submitted_at=3.0, command="é\x80")
    store.jobs.add_jobs([one])
    assert store.jobs.find_job(one.id) == one
    assert store.jobs.find_by_prefix(one.id[:5]) == [one]
    assert store.jobs.find_by_key("k", "h") == [one]
    assert store.jobs.find_by_key("k", "other") == []
    assert list(store.jobs.iterate_jobs()) == [one]


def test_records_of_jobs_reaped_long_ago_are_dropped(store: Store) -> None:
    old, new = job(reaped_at=5.0), job(reaped_at=7.0)
    ended, running = job(finished_at=1.0), job(state=states.RUNNING)
    elsewhere = job(reaped_at=1.0, site_id="d")
    kept = [new, ended, running, elsewhere]
    store.jobs.add_jobs([old, *kept])
    for one in (old, new):
        Path(store.files.locate_log(one.id)).write_bytes(b"x")
    assert store.jobs.prune_jobs("c", 6.0) == 1
    assert store.jobs.find_job(old.id) is None
    assert os.listdir(os.path.join(store.home, "logs")) == [new.id]
    assert list(store.jobs.find_jobs(one.id for one in kept)) == sorted(
        one.id for one in kept
    )


def test_an_ended_job_is_no_longer_active(store: Store) -> None:
    one, two = job(), job(state=states.RUNNING)
    store.jobs.add_jobs([one, two])
    store.jobs.update_job(one.id, state=states.FAILED, finished_at=5.0)
    assert [found[0] for found in store.jobs.list_asked("c")] == [two.id]
    assert store.jobs.has_active("c") and not store.jobs.has_active("d")
    assert store.jobs.count_active([one.id, two.id]) == 1
    store.jobs.update_job(two.id, log_local_bytes=7)
    assert store.jobs.read_active_bytes([one.id, two.id, "z" * 16]) == {two.id: 7}
    assert store.jobs.list_unreaped("c", 6.0) == [one.id]
    assert store.jobs.list_unreaped("c", 4.0) == []


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    one = job()
    with pytest.raises(RuntimeError), store.begin_write():
        store.jobs.add_jobs([one])
        raise RuntimeError
    assert store.jobs.find_job(one.id) is None


def test_what_was_not_sent_can_be_withdrawn(store: Store) -> None:
    jobs = [job(), job()]
    for one in jobs:
        store.files.save_spec(one.id, Spec(b"true"))
    store.jobs.add_jobs(jobs)
    numbers = store.intents.add_intents("c", "start", [one.id for one in jobs])
    store.intents.mark_sent(numbers[:1])
    gone, kept = store.intents.withdraw_intents(numbers)
    assert (gone, kept) == ([jobs[1].id], [jobs[0].id])
    assert store.jobs.find_job(jobs[1].id) is None
    assert store.files.read_spec(jobs[1].id) is None
    assert store.files.read_spec(jobs[0].id) == Spec(b"true")


def test_a_dead_process_wants_nothing_for_ever(store: Store) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ids = [job().id for _ in range(3)]
    store.intents.add_intents("c", "start", ids[:1], owner=ended.pid)
    store.intents.add_intents("c", "log", ids[1:2], owner=ended.pid)
    store.intents.add_intents("c", "log", ids[2:])
    created = store.intents.list_open("c")[0].created_at
    assert store.intents.expire_intents("c", 3600.0, created + 1) == []
    assert [i.job_id for i in store.intents.list_open("c")] == [ids[0], ids[2]]
    stale = store.intents.expire_intents("c", 3600.0, created + 4000)
    assert [i.job_id for i in stale] == ids[:1]
    assert [i.job_id for i in store.intents.list_open("c")] == ids[2:]


def test_a_clock_that_was_set_back_voids_what_it_dated(store: Store) -> None:
    store.intents.add_intents("c", "start", [job().id], owner=0)
    created = store.intents.list_open("c")[0].created_at
    assert len(store.intents.expire_intents("c", 3600.0, created - 4000)) == 1


def test_a_spec_leaves_no_trace(store: Store) -> None:
    one = job()
    store.files.save_spec(one.id, Spec(b"true", (("T", b"s3cret-value"),)))
    store.jobs.add_jobs([one])
    store.files.drop_spec(one.id)
    for folder, _, names in os.walk(store.home):
        for name in names:
            assert b"s3cret-value" not in Path(folder, name).read_bytes()


def count_wal_frames(store: Store) -> int:
    """Return how many frames of its WAL count (sqlite.org/fileformat2.html, 4.1)."""
    data = Path(f"{store.path}-wal").read_bytes()
    size = int.from_bytes(data[8:12], "big") + 24
    frames = (data[at : at + 24] for at in range(32, len(data), size))
    return len(list(takewhile(lambda frame: frame[8:16] == data[16:24], frames)))


def test_a_long_transaction_leaves_a_short_wal(store: Store) -> None:
    """The next process, and each after it, would read it all."""
    store.jobs.add_jobs([job(command="x" * 2000) for _ in range(1000)])
    assert count_wal_frames(store) < 10


def test_a_wal_begins_anew_under_a_newer_version(store: Store) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version={schema.VERSION + 1}")
        store.jobs.add_jobs([job(command="x" * 2000) for _ in range(1000)])
        assert db.execute("PRAGMA user_version").fetchone() == (schema.VERSION + 1,)


def test_a_newer_store_is_refused(store: Store) -> None:
    store.close()
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer sshjobs"):
        Store(store.home)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "store.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="--adopt"):
        Store(str(home))


WRITER = """
import sys
from sshjobs.store import Store
from sshjobs.model import Job, new_job_id
store = Store(sys.argv[1])
for _ in range(5):
    with store.begin_write():
        one = Job(id=new_job_id(), host="h", site_id="c", state="PENDING")
        store.jobs.add_jobs([one])
        store.intents.add_intents("c", "start", [one.id])
"""


def test_forty_processes_write_at_once(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    command = [sys.executable, "-c", WRITER, home]
    writers = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(40)
    ]
    ends = [writer.communicate()[1] for writer in writers]
    assert ends == [""] * 40
    store = Store(home)
    assert len(list(store.jobs.iterate_jobs())) == 200
    assert len(store.intents.list_open("c")) == 200


def test_the_home_does_not_follow_the_environment() -> None:
    home = default_home({"HOME": "/nowhere", "XDG_STATE_HOME": "/nowhere"})
    assert not home.startswith("/nowhere")
    assert default_home({"SSHJOBS_HOME": "/x/y"}) == "/x/y"


def test_a_sweep_takes_what_a_crash_has_left(store: Store) -> None:
    waiting, running = job(), job(state=states.RUNNING)
    store.jobs.add_jobs([waiting, running])
    for job_id in (waiting.id, running.id, new_job_id()):
        store.files.save_spec(job_id, Spec(b"true"))
    with store.files.hold_off_sweep(), Store(store.home).files.hold_off_sweep():
        assert store.sweep_specs() == 0
    assert store.sweep_specs() == 2
    assert os.listdir(os.path.join(store.home, "specs")) == [waiting.id]
    assert store.sweep_specs() == 0


def test_a_kill_of_who_lost_a_key_is_no_kill_of_the_winner(store: Store) -> None:
    loser, winner = job(key="k"), job(key="k")
    store.jobs.add_jobs([loser, winner])
    (start,) = store.intents.add_intents("c", "start", [loser.id])
    store.intents.add_intents("c", "kill", [loser.id])
    store.intents.redirect_start(loser.id, winner.id)
    store.jobs.forget_jobs([loser.id])
    assert [(i.id, i.job_id) for i in store.intents.list_open("c")] == [
        (start, winner.id)
    ]


def test_what_is_forgotten_in_vain_keeps_its_files(store: Store) -> None:
    one = job()
    store.files.save_spec(one.id, Spec(b"true"))
    store.jobs.add_jobs([one])
    with pytest.raises(RuntimeError), store.begin_write():
        store.jobs.forget_jobs([one.id])
        raise RuntimeError
    assert store.files.read_spec(one.id) == Spec(b"true")
    with store.begin_write():
        store.jobs.forget_jobs([one.id])
        assert store.files.read_spec(one.id) is not None
    assert store.files.read_spec(one.id) is None


@pytest.mark.parametrize("count", [3, 3 * SLICE + 7])
def test_a_batch_comes_whole_or_not_at_all(store: Store, count: int) -> None:
    other = Store(store.home)
    jobs = [job(submitted_at=float(i), once=bool(i % 2)) for i in range(count)]
    for ending in (RuntimeError, None):
        with suppress(RuntimeError), store.jobs.collect_batch() as batch:
            for one in jobs:
                batch.add(one)
                store.files.save_spec(one.id, Spec(b"true"))
            assert not other.jobs.has_active("c")
            if ending:
                raise ending
            with store.begin_write():
                batch.store()
                numbers = store.intents.add_intents("c", "start", batch.ids())
        specs = os.listdir(os.path.join(store.home, "specs"))
        assert len(specs) == (0 if ending else count)
    assert list(other.jobs.iterate_jobs()) == jobs
    assert numbers == sorted(numbers)
    wanted = [i.job_id for some in slices(numbers) for i in by_number(other, some)]
    assert wanted == [one.id for one in jobs]


def by_number(store: Store, numbers: Sequence[int]) -> list[Intent]:
    outcomes = store.intents.read_outcomes(numbers)
    return [outcomes[number] for number in numbers]


def test_of_very_many_intents_each_has_its_turn(store: Store) -> None:
    starts = store.intents.add_intents("c", "start", [new_job_id() for _ in range(25)])
    reaps = store.intents.add_intents("c", "reap", [new_job_id() for _ in range(25)])
    seen = set()
    for turn in range(3):
        numbers = [intent.id for intent in store.intents.list_open("c", 10, turn)]
        assert numbers == sorted(numbers)
        assert numbers[:10] == starts[:10]
        seen |= set(numbers[10:])
    assert seen == set(reaps)
    assert store.intents.count_waiting("c") == (50, 50)
    store.intents.mark_sent(starts)
    store.intents.serve_intents(reaps[:20])
    assert store.intents.count_waiting("c") == (30, 5)
    assert store.intents.count_unserved(reaps) == (5, 5)


# -- older and newer versions


def step_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this the next version of sshjobs, whose jobs have one column more."""
    one_more = "ALTER TABLE sites ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'"
    monkeypatch.setitem(
        schema.MIGRATIONS, schema.VERSION, (schema.VERSION + 1, one_more)
    )
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)


def test_an_older_store_is_brought_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(key="k")
    store.jobs.add_jobs([one])
    store.sites.ensure_site("c", "h")
    step_up(monkeypatch)
    newer = Store(store.home)
    assert newer.jobs.find_job(one.id) == one
    assert newer._database.fetch_rows("SELECT mood FROM sites") == [("calm",)]
    assert Store(store.home).jobs.find_job(one.id) == one


def test_who_is_at_work_goes_on_while_a_newer_one_migrates(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.sites.ensure_site("c", "h")
    step_up(monkeypatch)
    Store(store.home).close()
    assert store.sites.ensure_site("c", "h") == before
    store.intents.add_intents("c", "start", ["x"])
    assert [intent.job_id for intent in store.intents.list_open("c")] == ["x"]


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job()
    store.jobs.add_jobs([one])
    with monkeypatch.context() as patch:
        step_up(patch)
        broken = "UPDATE jobs SET state = 'x'; SELECT * FROM nowhere"
        patch.setitem(schema.MIGRATIONS, schema.VERSION - 1, (schema.VERSION, broken))
        with pytest.raises(StoreError, match="nowhere"):
            Store(store.home)
    assert Store(store.home).jobs.find_job(one.id) == one


MIGRATOR = """
import sys
from sshjobs.store import Store, schema
step = "ALTER TABLE sites ADD COLUMN mood TEXT"
schema.MIGRATIONS[schema.VERSION] = (schema.VERSION + 1, step)
schema.VERSION += 1
Store(sys.argv[1]).intents.add_intents("c", "start", ["x"])
"""


def test_many_processes_migrate_once(store: Store) -> None:
    command = [sys.executable, "-c", MIGRATOR, store.home]
    crowd = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(12)
    ]
    assert [one.communicate()[1] for one in crowd] == [""] * 12
    assert len(store.intents.list_open("c")) == 12


# -- where it lies, and what is done to it


def test_a_directory_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    busy.mkdir()
    busy.chmod(0o775)
    (busy / "something").touch()
    with pytest.raises(StoreError, match="others can write there"):
        Store(str(busy))
    assert (busy.stat().st_mode & 0o777, os.listdir(busy)) == (0o775, ["something"])
    (busy / "something").unlink()
    Store(str(busy)).close()
    assert busy.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_was_opened_to_others_is_refused(store: Store) -> None:
    os.chmod(store.home, 0o770)
    with pytest.raises(StoreError, match="others can write there.*chmod 700"):
        Store(store.home)
    os.chmod(store.home, 0o700)
    Store(store.home).close()


def test_a_directory_that_others_only_read_keeps_what_is_ours(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "something").touch(mode=0o644)
    old = os.umask(0o022)
    try:
        store = Store(str(shared))
        store.files.save_spec(ID, Spec(b"true"))
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o077 for path in shared.iterdir()}
    assert shared.stat().st_mode & 0o777 == 0o755
    assert modes.pop("something") == 0o044
    assert set(modes.values()) == {0}, modes
    store.close()


def test_directories_that_were_deleted_come_back(store: Store) -> None:
    for name in ("specs", "logs", "locks"):
        shutil.rmtree(os.path.join(store.home, name))
    again = Store(store.home)
    again.files.save_spec(ID, Spec(b"true"))
    assert again.files.read_spec(ID) == Spec(b"true")


def test_who_holds_it_for_too_long_is_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.2)
    other = Store(store.home)
    with store.begin_write():
        with pytest.raises(StoreError, match="another process holds it") as caught:
            other.intents.add_intents("c", "start", ["x"])
    assert store.path in str(caught.value)
    assert other.intents.add_intents("c", "start", ["x"])


def test_a_damaged_file_is_named_and_harms_nothing_else(store: Store) -> None:
    store.jobs.add_jobs(job() for _ in range(500))
    store.close()
    with open(store.path, "r+b") as file:
        for page in range(3, 60):
            file.seek(4096 * page)
            file.write(b"\xa5" * 4096)
    with pytest.raises(StoreError, match="(?s)malformed.*--adopt"):
        list(Store(store.home).jobs.iterate_jobs())
    os.rename(store.path, f"{store.path}.bad")
    assert list(Store(store.home).jobs.iterate_jobs()) == []


@pytest.mark.parametrize("how", ["emptied", "moved"])
def test_a_record_that_is_begun_anew_says_so(store: Store, how: str) -> None:
    """SQLite takes a file of no bytes for a new database, and drops its WAL."""
    store.jobs.add_jobs([job()])
    with open(store.files.locate_log(ID), "w") as log:
        log.write("brought home\n")
    store.close()
    if how == "emptied":
        os.truncate(store.path, 0)
    else:
        os.rename(store.path, f"{store.path}.bad")
    assert "--adopt" in Store(store.home).remark
    assert Store(store.home).remark == ""


def test_the_first_record_has_nothing_to_say(tmp_path: Path) -> None:
    assert Store(str(tmp_path / "home")).remark == ""


def test_network_file_systems_are_known(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    home = tmp_path / "a b" / "home"
    inner = os.fspath(home.parent).replace(" ", "\\040")
    mounts.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nserver:/x {inner} nfs4 rw 0 0\n"
        f"none {tmp_path}/a tmpfs rw 0 0\n"
    )
    assert where.mount_type(str(home), str(mounts)) == "nfs4"
    assert where.mount_type(str(tmp_path), str(mounts)) == "ext4"
    assert where.mount_type("/", str(tmp_path / "none")) == ""


def test_a_network_file_system_is_remarked_on_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(tmp_path / "home")
    here = where.mount_type(str(tmp_path))
    monkeypatch.setattr(where, "NETWORK_TYPES", frozenset([here]))
    assert "want a local disk" in Store(home).remark
    assert Store(home).remark == ""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", str(folder)]
    subprocess.run(command, check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_loses_nothing(disk: Path) -> None:
    store = Store(str(disk / "home"))
    one = job()
    store.jobs.add_jobs([one])
    with open(disk / "ballast", "wb", 0) as ballast, suppress(OSError):
        while ballast.write(b"x" * 1024):
            continue
    with pytest.raises(StoreError, match="make room|No space"):
        for _ in range(100):
            other = job(command="x" * 9000)
            store.files.save_spec(other.id, Spec(b"true"))
            store.jobs.add_jobs([other])
    (disk / "ballast").unlink()
    assert store.jobs.find_job(one.id) == one
    store.jobs.add_jobs([other])
    assert Store(store.home).jobs.find_job(other.id) == other


def test_a_disk_without_a_byte_is_said_at_once(disk: Path) -> None:
    with open(disk / "ballast", "wb", 0) as ballast, suppress(OSError):
        while ballast.write(b"x" * 1024):
            continue
    with pytest.raises(StoreError):
        Store(str(disk / "home"))
    (disk / "ballast").unlink()
    Store(str(disk / "home")).jobs.add_jobs([job()])


def test_a_disk_that_cannot_be_written_to(disk: Path) -> None:
    store = Store(str(disk / "home"))
    one = job()
    store.jobs.add_jobs([one])
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(StoreError, match="SSHJOBS_HOME"):
        Store(store.home).jobs.add_jobs([job()])
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert Store(store.home).jobs.find_job(one.id) == one


def test_a_disk_that_cannot_be_written_to_holds_no_locks(disk: Path) -> None:
    """What is said of a lock or a socket says what to do too."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(StoreError, match="Read-only.*SSHJOBS_HOME"):
        Gate(str(disk), "k").try_to_hold()
    with pytest.raises(StoreError, match="Read-only.*SSHJOBS_HOME"):
        with Bell(str(disk), "c") as bell:
            bell.be_reachable()


def test_threads_of_a_process_write_in_turn(tmp_path: Path) -> None:
    """None of them finds the lock of SQLite taken by another, so that none starves."""
    failed: list[BaseException] = []
    home = str(tmp_path / "home")

    def write_often(name: str) -> None:
        with closing(Store(home)) as store:
            store._database._db.execute(
                "PRAGMA busy_timeout=0"
            )  # whoever finds it taken fails
            try:
                for _ in range(10):
                    with store.begin_write():
                        store.sites.ensure_site(name, name)
                        time.sleep(0.001)
                    store.sites.count_events(name, {"rounds": 1})
                    numbers = store.intents.add_intents(name, "start", ["x"] * 3)
                    store.intents.drop_intents(numbers)
            except BaseException as error:
                failed.append(error)

    Store(home).close()
    threads = [Thread(target=write_often, args=(f"h{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with closing(Store(home)) as store:
        assert [row.rounds for row in store.sites.list_sites()] == [10] * 8


def test_rows_of_one_call_are_one_transaction(store: Store) -> None:
    numbers = store.intents.add_intents("c", "start", map(str, range(50)))
    said: list[str] = []
    store._database._db.set_trace_callback(said.append)
    store.intents.drop_intents(numbers)
    store._database._db.set_trace_callback(None)
    assert [text for text in said if text[:6] in ("BEGIN ", "COMMIT")] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


def test_of_very_many_specs_only_some_are_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshjobs.store.SLICE", 3)
    folder = Path(store.home, "specs")
    for _ in range(8):
        (folder / new_job_id()).write_bytes(b"left by a crash")
    assert [store.sweep_specs() for _ in range(4)] == [3, 3, 2, 0]
