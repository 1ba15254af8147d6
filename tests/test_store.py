"""The store: many processes, one file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sshjobs import states
from sshjobs.errors import StoreError
from sshjobs.model import Job, Spec, new_job_id
from sshjobs.store import Store, default_home


def job(**changes: object) -> Job:
    base = Job(id=new_job_id(), host="h", conn="c", state=states.PENDING)
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
    store.add_jobs([one])
    assert store.job(one.id) == one
    assert store.find(one.id[:5]) == [one]
    assert store.by_key("k", "h") == [one]
    assert store.by_key("k", "other") == []
    assert list(store.select(states=states.ACTIVE)) == [one]


def test_an_ended_job_is_no_longer_active(store: Store) -> None:
    one, two = job(), job(state=states.RUNNING)
    store.add_jobs([one, two])
    store.update(one.id, state=states.FAILED, finished_at=5.0)
    assert [found.id for found in store.active("c")] == [two.id]
    assert store.count_active([one.id, two.id]) == 1
    assert [found.id for found in store.unreaped("c", 6.0)] == [one.id]
    assert store.unreaped("c", 4.0) == []


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    one = job()
    with pytest.raises(RuntimeError), store.write():
        store.add_jobs([one])
        raise RuntimeError
    assert store.job(one.id) is None


def test_what_was_not_sent_can_be_withdrawn(store: Store) -> None:
    jobs = [job(), job()]
    for one in jobs:
        store.save_spec(one.id, Spec(b"true"))
    store.add_jobs(jobs)
    numbers = store.add_intents("c", "start", [one.id for one in jobs])
    store.mark_sent(numbers[:1])
    gone, kept = store.withdraw(numbers)
    assert (gone, kept) == ([jobs[1].id], [jobs[0].id])
    assert store.job(jobs[1].id) is None
    assert store.spec(jobs[1].id) is None
    assert store.spec(jobs[0].id) == Spec(b"true")


def test_a_dead_process_wants_nothing_for_ever(store: Store) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ids = [job().id for _ in range(3)]
    store.add_intents("c", "start", ids[:1], owner=ended.pid)
    store.add_intents("c", "log", ids[1:2], owner=ended.pid)
    store.add_intents("c", "log", ids[2:])
    created = store.intents("c")[0].created_at
    assert store.expire("c", 3600.0, created + 1) == []
    assert [i.job_id for i in store.intents("c")] == [ids[0], ids[2]]
    stale = store.expire("c", 3600.0, created + 4000)
    assert [i.job_id for i in stale] == ids[:1]
    assert [i.job_id for i in store.intents("c")] == ids[2:]


def test_a_clock_that_was_set_back_voids_what_it_dated(store: Store) -> None:
    store.add_intents("c", "start", [job().id], owner=0)
    created = store.intents("c")[0].created_at
    assert len(store.expire("c", 3600.0, created - 4000)) == 1


def test_a_spec_leaves_no_trace(store: Store) -> None:
    one = job()
    store.save_spec(one.id, Spec(b"true", (("T", b"s3cret-value"),)))
    store.add_jobs([one])
    store.drop_spec(one.id)
    for folder, _, names in os.walk(store.home):
        for name in names:
            assert b"s3cret-value" not in Path(folder, name).read_bytes()


def test_a_newer_store_is_refused(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.path) as db:
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
    with store.write():
        one = Job(id=new_job_id(), host="h", conn="c", state="PENDING")
        store.add_jobs([one])
        store.add_intents("c", "start", [one.id])
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
    assert len(list(store.select())) == 200
    assert len(store.intents("c")) == 200


def test_the_home_does_not_follow_the_environment() -> None:
    home = default_home({"HOME": "/nowhere", "XDG_STATE_HOME": "/nowhere"})
    assert not home.startswith("/nowhere")
    assert default_home({"SSHJOBS_HOME": "/x/y"}) == "/x/y"


def test_a_sweep_takes_what_a_crash_has_left(store: Store) -> None:
    waiting, running = job(), job(state=states.RUNNING)
    store.add_jobs([waiting, running])
    for job_id in (waiting.id, running.id, new_job_id()):
        store.save_spec(job_id, Spec(b"true"))
    with store.writing_specs(), Store(store.home).writing_specs():
        assert store.sweep() == 0
    assert store.sweep() == 2
    assert os.listdir(os.path.join(store.home, "specs")) == [waiting.id]
    assert store.sweep() == 0


def test_a_kill_of_who_lost_a_key_is_no_kill_of_the_winner(store: Store) -> None:
    loser, winner = job(key="k"), job(key="k")
    store.add_jobs([loser, winner])
    (start,) = store.add_intents("c", "start", [loser.id])
    store.add_intents("c", "kill", [loser.id])
    store.redirect(loser.id, winner.id)
    store.forget([loser.id])
    assert [(i.id, i.job_id) for i in store.intents("c")] == [(start, winner.id)]


def test_what_is_forgotten_in_vain_keeps_its_files(store: Store) -> None:
    one = job()
    store.save_spec(one.id, Spec(b"true"))
    store.add_jobs([one])
    with pytest.raises(RuntimeError), store.write():
        store.forget([one.id])
        raise RuntimeError
    assert store.spec(one.id) == Spec(b"true")
    with store.write():
        store.forget([one.id])
        assert store.spec(one.id) is not None
    assert store.spec(one.id) is None
