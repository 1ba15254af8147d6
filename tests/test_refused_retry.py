"""A refusal that passes by itself: one process tries once more after a pause."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sshjobs.rounds.refusals import known_refusal
from sshjobs.verbs.context import Context
from tests.cli import Cli, finish

TRUE = ("submit", "box", "--", "true")


def refuse(cli: Cli) -> Callable[[], object]:
    """Have the server refuse the key; return what has it take it again."""
    assert cli.sshd is not None
    keys = cli.sshd.folder / "authorized_keys"
    good = keys.read_text()
    keys.write_text("")
    return lambda: keys.write_text(good)


def age(cli: Cli, seconds: float) -> None:
    """Have what was refused be that much older."""
    with closing(sqlite3.connect(cli.home / "store.db", timeout=30)) as db, db:
        (text,) = db.execute("SELECT refused FROM sites").fetchone()
        refused = {
            key: [error, at - seconds, trying_at and trying_at - seconds]
            for key, (error, at, trying_at) in json.loads(text).items()
        }
        db.execute("UPDATE sites SET refused = ?", (json.dumps(refused),))


def crowd(cli: Cli, count: int) -> list[int]:
    """Start many processes; return how each ended."""
    return [one.status for one in finish([cli.start(*TRUE) for _ in range(count)])]


def test_one_process_tries_again_after_the_pause(cli: Cli) -> None:
    sshd = cli.sshd
    assert sshd is not None
    mend = refuse(cli)
    ended = cli(*TRUE)
    assert ended.status == 77 and "refused_retry" in ended.err, ended
    assert "sshjobs connect box" in ended.err and "600 s" in ended.err
    age(cli, 590)
    assert crowd(cli, 5) == [77] * 5
    assert sshd.connections == 1
    age(cli, 20)
    assert crowd(cli, 12) == [77] * 12
    assert sshd.connections == 2, "one process, once"
    mend()
    assert crowd(cli, 3) == [77] * 3
    left = re.search(r"again by itself in (\d+) s", cli.hosts()["refused"])
    assert left and 300 < int(left[1]) <= 600
    age(cli, 610)
    assert crowd(cli, 8) == [0] * 8
    assert sshd.connections == 3
    # It counts as never refused: the next connection is made at once.
    cli.ok("disconnect", "box")
    assert cli(*TRUE).status == 0
    assert cli.hosts()["refused"] == ""


def test_the_pause_is_a_setting(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.env["SSHJOBS_REFUSED_RETRY"] = "1h"
    mend = refuse(cli)
    assert "3600 s" in cli(*TRUE).err
    mend()
    age(cli, 610)
    assert cli(*TRUE).status == 77
    cli.env["SSHJOBS_REFUSED_RETRY"] = "300"
    assert cli(*TRUE).status == 0


def test_who_dies_while_it_tries_again_bars_nobody_for_long(cli: Cli) -> None:
    mend = refuse(cli)
    assert cli(*TRUE).status == 77
    mend()
    age(cli, 610)
    with closing(sqlite3.connect(cli.home / "store.db", timeout=30)) as db, db:
        (text,) = db.execute("SELECT refused FROM sites").fetchone()
        refused = json.loads(text)
        for entry in refused.values():
            entry[2] = entry[1] + 610
        db.execute("UPDATE sites SET refused = ?", (json.dumps(refused),))
    assert cli(*TRUE).status == 77
    age(cli, 130)
    assert cli(*TRUE).status == 0


@pytest.mark.parametrize("shift", [-7200.0, 7200.0])
def test_a_clock_that_was_set_bars_nobody(cli: Cli, shift: float) -> None:
    mend = refuse(cli)
    assert cli(*TRUE).status == 77
    mend()
    age(cli, shift)
    assert cli(*TRUE).status == 0


def test_what_an_older_version_wrote_is_tried(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    mend = refuse(cli)
    assert cli(*TRUE).status == 77
    with closing(sqlite3.connect(cli.home / "store.db", timeout=30)) as db, db:
        (text,) = db.execute("SELECT refused FROM sites").fetchone()
        old = {key: entry[0] for key, entry in json.loads(text).items()}
        db.execute("UPDATE sites SET refused = ?", (json.dumps(old),))
    ctx = Context(environ=cli.env)
    with ctx.coordinator("box") as coordinator:
        assert known_refusal(coordinator.site, coordinator.site.row()) is None
    ctx.close()
    mend()
    assert cli(*TRUE).status == 0
