"""A store that an older sshjobs wrote, and processes that work while it is migrated.

``data/store_4049e08`` is the work of a real sshjobs of version 1 of the store, at
commit 4049e08: its database, the specs of two jobs, and the programs that it sent to
the host ``local`` for four jobs and for those two. The programs are run here, so that
the jobs are there as that version's host half makes them; the rest of the story is of
today.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sshjobs import errors
from sshjobs.errors import StoreError
from sshjobs.store import DIFFERS, FAILED, SAME, SERVED, Store, schema
from tests.cli import Cli, end_jobs

pytestmark = pytest.mark.quick


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "home"))


def test_a_host_of_which_nothing_is_known_or_wanted_is_forgotten(store: Store) -> None:
    row = store.sites.ensure_site("c", "h")
    store.sites.ensure_site("d", "wanted")
    store.intents.add_intents("d", "start", ["x"])
    assert not store.sites.forget_site("c", row.since - 1.0)
    assert store.sites.forget_site("c", row.since)
    assert not store.sites.forget_site("d", row.since + 60.0)
    assert [row.host for row in store.sites.list_sites()] == ["wanted"]


def test_who_is_at_work_hears_of_a_step_that_renames(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.sites.ensure_site("c", "h")
    numbers = store.intents.add_intents("c", "start", ["x"])
    version = schema.VERSION
    with monkeypatch.context() as patch:
        rename = "ALTER TABLE intents RENAME COLUMN sent TO sent_at"
        patch.setitem(schema.MIGRATIONS, version, (version + 1, rename))
        patch.setattr(schema, "VERSION", version + 1)
        Store(store.home).close()
    with pytest.raises(StoreError, match=f"newer sshjobs .* version {version + 1}"):
        store.intents.mark_sent(numbers)
    with closing(store):
        rows = store._database.fetch_rows("SELECT job_id, sent_at FROM intents")
    assert rows == [("x", 0)]


DATA = Path(__file__).parent / "data" / "store_4049e08"
#: Where it was written, and when; the length of the first counts in the specs.
THERE, THEN = "/tmp/sj01234567", 1795874177.0
ENDED = {"dwe4q575qi5qm3u6": b"one\n", "nmc7uawar5zvsiv6": b"two\n"}
RUNNING, SLEEPING = "qbzk55omjlxh5bxn", "ht3lgrsupdjlbtkr"
HALF_SENT = {"kplbywllgduarzlu": b"five\n", "pzrlthyi5fqt37x6": b"six\n"}


def run_old_program(place: Path, name: str) -> list[list[str]]:
    """Run what the older version sent to its host; return the frames of the reply."""
    text = (DATA / "program.sh").read_text() + (DATA / name).read_text()
    program = text.replace(THERE, str(place)).encode()
    reply = subprocess.run(["sh"], input=program, capture_output=True, check=True)
    return [line.split() for line in reply.stdout.decode().splitlines()]


def write_old_store(place: Path, frames: list[list[str]]) -> None:
    """Write the older version's store, as it would stand on this machine and today."""
    home = place / "home"
    home.mkdir(0o700)
    shutil.copytree(DATA / "specs", home / "specs")
    for path in [home / "specs", *(home / "specs").iterdir()]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    for path in (home / "specs").iterdir():
        path.write_bytes(path.read_bytes().replace(THERE.encode(), str(place).encode()))
    shift = time.time() - THEN
    text = re.sub(
        r"\b1\.7958741\d+e\+09|\b17958741\d+\.\d+",
        lambda found: repr(float(found[0]) + shift),
        (DATA / "store.sql").read_text().replace(THERE, str(place)),
    )
    base = f"{place}/base"
    site_id = f"25bf8e1a{zlib.crc32(base.encode()):08x}"
    text = text.replace("25bf8e1aedb0892b", site_id)
    text = text.replace("'vm'", f"'{os.uname().nodename}'")
    with closing(sqlite3.connect(home / "store.db")) as db:
        db.executescript(f"PRAGMA journal_mode=WAL; {text}; PRAGMA user_version=1;")
        for frame in frames:
            if frame[:1] == ["started"]:
                sql = "UPDATE jobs SET pid = ?, start = ? WHERE id = ?"
                db.execute(sql, [int(frame[2]), frame[4], frame[1]])
            elif frame[:1] == ["journal"]:
                db.execute("UPDATE hosts SET journal_gen = ?", [frame[1]])
        db.commit()


@pytest.fixture(params=["half_sent_arrived", "half_sent_got_lost"])
def old(request: pytest.FixtureRequest, place: Path) -> Iterator[Cli]:
    """Have jobs of the older version that ended, that run, and that are half sent."""
    frames = run_old_program(place, "first.sh")
    assert sum(frame[:1] == ["started"] for frame in frames) == 4
    if request.param == "half_sent_arrived":
        run_old_program(place, "half.sh")
    write_old_store(place, frames)
    yield Cli(None, place / "home", place / "base")
    end_jobs(place / "base")


def test_jobs_of_the_version_before_are_known_followed_and_reaped(
    old: Cli, place: Path
) -> None:
    polled = {job["id"]: job["state"] for job in old("poll", "--json").objects}
    assert polled[RUNNING] == polled[SLEEPING] == "RUNNING"
    assert set(polled) <= {RUNNING, SLEEPING, *HALF_SENT}
    follower = old.start("logs", "--follow", RUNNING)
    assert follower.stdout is not None and follower.stderr is not None
    assert follower.stdout.readline() == b"three\n"
    (place / "out.go").touch()
    out, err = follower.communicate(timeout=60)
    assert (out, follower.returncode) == (b"last\n", 0)
    # On a busy machine a word on waiting stands there, and nothing else may.
    assert all(b"; Ctrl-C: the job goes on" in line for line in err.splitlines())
    assert old("kill", SLEEPING).status == 0
    assert old("wait", *ENDED, RUNNING, SLEEPING, *HALF_SENT).status == 1
    listed = {job["id"]: job for job in old.ok("list", "--json").objects}
    ends = {key: (job["state"], job["exit_status"]) for key, job in listed.items()}
    assert [ends[key] for key in (*ENDED, *HALF_SENT)] == [
        ("COMPLETED", 0),
        ("FAILED", 3),
        ("COMPLETED", 0),
        ("FAILED", 6),
    ]
    assert ends[RUNNING] == ("COMPLETED", 0) and ends[SLEEPING][0] == "CANCELLED"
    logs = {RUNNING: b"three\nlast\n", SLEEPING: b"four\n"} | ENDED | HALF_SENT
    assert {key: old.ok("logs", key).raw for key in listed} == logs
    # Each ran once, though the two half sent ones were asked for again.
    runs = {path.name: path.read_text() for path in place.glob("out.[1-6]")}
    assert runs == {f"out.{number}": "once\n" for number in range(1, 7)}
    old.ok("reap", "--host", "local")
    assert list((place / "base" / "jobs").iterdir()) == []
    assert {key: old.ok("logs", key).raw for key in listed} == logs


def test_a_store_that_was_migrated_is_as_a_new_one(tmp_path: Path, place: Path) -> None:
    write_old_store(place, [])
    shapes = []
    for home in (place / "home", tmp_path / "new"):
        Store(str(home)).close()
        with closing(sqlite3.connect(home / "store.db")) as db:
            names = "SELECT name FROM sqlite_master WHERE type = ? ORDER BY name"
            tables = [name for (name,) in db.execute(names, ["table"])]
            indices = [name for (name,) in db.execute(names, ["index"])]
            columns = {
                name: db.execute(f"PRAGMA table_info({name})").fetchall()
                for name in tables
            }
            keys = {
                name: db.execute(f"PRAGMA index_info({name})").fetchall()
                for name in indices
            }
            shapes.append((columns, keys, db.execute("PRAGMA user_version").fetchone()))
    assert shapes[0] == shapes[1]
    assert shapes[0][2] == (schema.VERSION,)


@pytest.fixture
def version_5(tmp_path: Path) -> Path:
    """Have a store of version 5, whose submits died before they read the outcomes."""
    home = tmp_path / "home"
    home.mkdir(0o700)
    text = (DATA.parent / "store_a84e7d9" / "store.sql").read_text()
    with closing(sqlite3.connect(home / "store.db")) as db:
        db.executescript(f"PRAGMA journal_mode=WAL; {text}; PRAGMA user_version=5;")
    return home


def test_an_intent_of_version_5_keeps_its_outcome(version_5: Path) -> None:
    with closing(Store(str(version_5))) as store:
        found = store.intents.read_outcomes(range(1, 6))
        assert [found[n].outcome for n in range(1, 6)] == [
            SAME,
            DIFFERS,
            SERVED,
            FAILED,
            "",
        ]
        assert [found[n].note for n in (1, 2, 3, 5)] == [""] * 4
        assert isinstance(errors.load(found[4].note), errors.HostError)
        (open_one,) = store.intents.list_open(found[5].site_id)
        assert open_one == found[5]


@pytest.mark.parametrize(
    ("note", "outcome", "kept"),
    [
        ("", SERVED, ""),
        ('["Same", []]', SAME, ""),
        ('["Differs", []]', DIFFERS, ""),
        ('["JobError", ["x", "y"]]', FAILED, '["JobError", ["x", "y"]]'),
    ],
)
def test_an_intent_that_a_leader_of_version_5_serves_meanwhile_has_an_outcome(
    version_5: Path, note: str, outcome: str, kept: str
) -> None:
    with closing(sqlite3.connect(version_5 / "store.db")) as older:
        sql = "UPDATE intents SET done = 1, note = ? WHERE id = ? AND done = 0"
        older.execute(sql, [note, 0])
        older.commit()
        with closing(Store(str(version_5))) as store:
            (new,) = store.intents.add_intents("c", "start", ["x"])
            for number in (5, new):
                older.execute(sql, [note, number])
                older.commit()
                intent = store.intents.read_outcomes([number])[number]
                assert (intent.outcome, intent.note) == (outcome, kept)


def test_an_outcome_is_that_of_the_leader_of_this_version_beside_the_trigger(
    version_5: Path,
) -> None:
    with closing(Store(str(version_5))) as store:
        store.intents.serve_intents([5], DIFFERS)
        assert store.intents.read_outcomes([5])[5].outcome == DIFFERS


def test_an_older_sqlite_reads_the_schema() -> None:
    """Before SQLite 3.35 an upsert must name its conflict (RHEL 9 has 3.34)."""
    steps = " ".join(step for _, step in schema.MIGRATIONS.values())
    assert not re.findall(r"ON\s+CONFLICT\s+DO\s+UPDATE", steps)
