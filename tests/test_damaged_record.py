"""A record that was damaged is an error that says so, and no traceback."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sshjobs import errors, states
from sshjobs.cli import main
from sshjobs.model import Job, Spec, new_job_id, pack
from sshjobs.store import Intent, SiteRow, Store
from sshjobs.store.traffic import TrafficRow
from sshjobs.transports import Identity
from tests.cli import Cli

_COLUMNS = [
    (table, column)
    for table, record in (
        ("jobs", Job),
        ("sites", SiteRow),
        ("intents", Intent),
        ("traffic", TrafficRow),
    )
    for column in record._fields
    if (table, column) != ("intents", "id")
]

#: What SQLite keeps in any column, whatever its type says, as it is written in SQL.
_ODD = {
    "no text": "CAST(x'ff00fe' AS TEXT)",
    "half a pair": "CAST(x'eda080' AS TEXT)",
    "bytes": "x'ff00'",
    "word": "'abc'",
    "huge": "1e308",
    "endless": "9e999",
    "negative": "-9223372036854775808",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record of a job, a host that was never asked, and an intent."""
    home = tmp_path / "home"
    monkeypatch.setenv("SSHJOBS_HOME", str(home))
    monkeypatch.setenv("SSHJOBS_WAIT_HOST", "0")
    with closing(Store(str(home))) as store:
        job = Job(
            id="a" * 16, host="h", site_id="c" * 16, state=states.PENDING, key="k"
        )
        store.jobs.add_jobs([job])
        store.files.save_spec(job.id, Spec(b"true"))
        store.sites.ensure_site(job.site_id, "h")
        identity = Identity(job.site_id, "h", "h", "h", "u", 1)
        store.sites.update_site(job.site_id, identity=identity.to_bytes(), base="~/x")
        store.intents.add_intents(job.site_id, "start", [job.id], owner=0)
        store.sites.count_events(job.site_id, {"sessions": 1})
    return home


def _damage(home: Path, table: str, column: str, value: str) -> None:
    with closing(sqlite3.connect(home / "store.db")) as db:
        db.execute(f"UPDATE {table} SET {column} = {value}")
        db.commit()


#: Looked at by "inv test --all" only, as the others are much like them.
_SLOW = ("half a pair", "endless", "negative", "huge")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(text, id=name, marks=[pytest.mark.slow] if name in _SLOW else [])
        for name, text in _ODD.items()
    ],
)
@pytest.mark.parametrize(("table", "column"), _COLUMNS)
def test_no_value_of_a_column_is_a_traceback(
    home: Path, table: str, column: str, value: str, capsys: Any
) -> None:
    """Each verb that reads it ends with a status and a line that names the file."""
    _damage(home, table, column, value)
    report = ["report", "-o", str(home.parent / "report.html")]
    for words in (["list"], ["show", "a" * 8], ["hosts"], report, ["kill", "key:k"]):
        status = main.main(words)
        said = capsys.readouterr()
        assert status in (0, 64, 69, 70, 75), (words, said)
        if status == 70:
            assert str(home / "store.db") in said.err, (words, said)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE jobs SET state = 'WEIRD'",
        "UPDATE jobs SET host = x'00'",
        "UPDATE jobs SET submitted_at = 'then'",
        "PRAGMA user_version = -3",
        "DROP TABLE jobs",
    ],
)
def test_damage_is_named_with_a_way_out(home: Path, sql: str, capsys: Any) -> None:
    with closing(sqlite3.connect(home / "store.db")) as db:
        db.execute(sql)
        db.commit()
    assert main.main(["list"]) == 70
    said = capsys.readouterr().err
    assert str(home / "store.db") in said
    if sql.startswith("UPDATE"):
        assert "is damaged" in said and "--adopt" in said


_NOTES = ["", "x", "[]", "[1, 2]", '["SpecError"]', '["X", 5]', "[" * 100_000, "\0"]
_NOTES += ['{"a": 1}', '["HostUnreachable", ["h"]]', '["CommandTimeout", []]']


@pytest.mark.parametrize("text", _NOTES, ids=lambda text: text[:20])
def test_an_error_that_was_written_down_badly_is_an_error(text: str) -> None:
    assert isinstance(errors.load(text), errors.SshJobsError)
    assert isinstance(errors.load_many(text), dict)


def test_credentials_of_odd_types_are_none() -> None:
    good = {"b": "x", "d": ["x", 1.5, 0]}
    odd: dict[str, Any] = {
        "a": 1,
        "c": None,
        "e": [],
        "f": ["x", "1", 0],
        "g": [1, 2, 3],
        "h": {},
    }
    assert errors.load_many(json.dumps(good | odd)) == good


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"x" * 100,
        pack(5),
        pack(()),
        pack({"command": 5}),
        pack({"command": b"x", "more": 1}),
        pack({"command": b"x", "env": ((1, 2),)}),
        pack({"command": b"x", "env": 5}),
        pack({"command": b"x", "timeout": "soon"}),
        pack({"command": b"x", "stdin": "text"}),
        pack({"command": b"x", "cwd": b"bytes"}),
        pack(Spec(b"true")._asdict())[:-3],
    ],
)
def test_a_damaged_spec_costs_its_job_and_no_other(cli: Cli, data: bytes) -> None:
    bad, good = new_job_id(), new_job_id()
    cli.submit("--", "true")
    with closing(Store(str(cli.home))) as store:
        (row,) = store.sites.list_sites()
        base = Job(id=bad, host=row.host, site_id=row.site_id, state=states.PENDING)
        store.jobs.add_jobs([base, base._replace(id=good)])
        store.files.save_spec(bad, Spec(b"true"))
        store.files.save_spec(good, Spec(b"true"))
        store.intents.add_intents(row.site_id, "start", [bad, good], owner=0)
    (cli.home / "specs" / bad).write_bytes(data)
    ended = cli("wait", good)
    assert (ended.status, ended.lines[0].split()[1]) == (0, "COMPLETED"), ended


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"text", pack(5), pack((1,) * 20), pack(("",) * 20)]
)
def test_a_damaged_identity_is_found_out_anew(cli: Cli, data: bytes) -> None:
    job = cli.submit("--", "sleep 1")
    with closing(sqlite3.connect(cli.home / "store.db")) as db:
        db.execute("UPDATE identities SET data = ?", [data])
        db.execute("UPDATE sites SET identity = ?", [data])
        db.commit()
    ended = cli("wait", job)
    assert ended.status == 70, ended
    assert f"poll --host {cli.host} --adopt" in ended.err
    assert cli("run", cli.host, "--", "true").status == 0
    assert cli("wait", job).status == 0


@pytest.mark.parametrize("data", [b"\0" * 4096, b"x" * 5000, b"SQLite format 3\0"])
def test_a_file_that_is_no_database(home: Path, data: bytes, capsys: Any) -> None:
    for end in ("-wal", "-shm"):
        (home / f"store.db{end}").unlink(missing_ok=True)
    (home / "store.db").write_bytes(data)
    assert main.main(["list"]) in (0, 70)
    assert str(home / "store.db") in capsys.readouterr().err
