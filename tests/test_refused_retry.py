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
from tests.box import Box, finish

TRUE = ("submit", "box", "--", "true")


def refuse(box: Box) -> Callable[[], object]:
    """Have the server refuse the key; return what has it take it again."""
    assert box.sshd is not None
    keys = box.sshd.folder / "authorized_keys"
    good = keys.read_text()
    keys.write_text("")
    return lambda: keys.write_text(good)


def age(box: Box, seconds: float) -> None:
    """Have what was refused be that much older."""
    with closing(sqlite3.connect(box.home / "store.db", timeout=30)) as db, db:
        (text,) = db.execute("SELECT refused FROM hosts").fetchone()
        refused = {
            key: [error, at - seconds, trying_at and trying_at - seconds]
            for key, (error, at, trying_at) in json.loads(text).items()
        }
        db.execute("UPDATE hosts SET refused = ?", (json.dumps(refused),))


def crowd(box: Box, count: int) -> list[int]:
    """Start many processes; return how each ended."""
    return [one.status for one in finish([box.start(*TRUE) for _ in range(count)])]


def test_one_process_tries_again_after_the_pause(box: Box) -> None:
    sshd = box.sshd
    assert sshd is not None
    mend = refuse(box)
    ended = box(*TRUE)
    assert ended.status == 77 and "refused_retry" in ended.err, ended
    assert "sshjobs connect box" in ended.err and "600 s" in ended.err
    age(box, 590)
    assert crowd(box, 5) == [77] * 5
    assert sshd.connections == 1
    age(box, 20)
    assert crowd(box, 12) == [77] * 12
    assert sshd.connections == 2, "one process, once"
    mend()
    assert crowd(box, 3) == [77] * 3
    left = re.search(r"again by itself in (\d+) s", box.hosts()["refused"])
    assert left and 300 < int(left[1]) <= 600
    age(box, 610)
    assert crowd(box, 8) == [0] * 8
    assert sshd.connections == 3
    # It counts as never refused: the next connection is made at once.
    box.ok("disconnect", "box")
    assert box(*TRUE).status == 0
    assert box.hosts()["refused"] == ""


def test_the_pause_is_a_setting(box: Box) -> None:
    assert box.sshd is not None
    box.env["SSHJOBS_REFUSED_RETRY"] = "1h"
    mend = refuse(box)
    assert "3600 s" in box(*TRUE).err
    mend()
    age(box, 610)
    assert box(*TRUE).status == 77
    box.env["SSHJOBS_REFUSED_RETRY"] = "300"
    assert box(*TRUE).status == 0


def test_who_dies_while_it_tries_again_bars_nobody_for_long(box: Box) -> None:
    mend = refuse(box)
    assert box(*TRUE).status == 77
    mend()
    age(box, 610)
    with closing(sqlite3.connect(box.home / "store.db", timeout=30)) as db, db:
        (text,) = db.execute("SELECT refused FROM hosts").fetchone()
        refused = json.loads(text)
        for entry in refused.values():
            entry[2] = entry[1] + 610
        db.execute("UPDATE hosts SET refused = ?", (json.dumps(refused),))
    assert box(*TRUE).status == 77
    age(box, 130)
    assert box(*TRUE).status == 0


@pytest.mark.parametrize("shift", [-7200.0, 7200.0])
def test_a_clock_that_was_set_bars_nobody(box: Box, shift: float) -> None:
    mend = refuse(box)
    assert box(*TRUE).status == 77
    mend()
    age(box, shift)
    assert box(*TRUE).status == 0


def test_what_an_older_version_wrote_is_tried(
    box: Box, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    mend = refuse(box)
    assert box(*TRUE).status == 77
    with closing(sqlite3.connect(box.home / "store.db", timeout=30)) as db, db:
        (text,) = db.execute("SELECT refused FROM hosts").fetchone()
        old = {key: entry[0] for key, entry in json.loads(text).items()}
        db.execute("UPDATE hosts SET refused = ?", (json.dumps(old),))
    ctx = Context(environ=box.env)
    with ctx.party("box") as party:
        assert known_refusal(party, party.row()) is None
    ctx.close()
    mend()
    assert box(*TRUE).status == 0
