"""A job with a log of its standard error beside the other: each has its own bounds.

Rows, frames, words and requests, by themselves; over a real sshd: ``test_split.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sshjobs.model import STDERR, Job, Spec
from sshjobs.protocol import (
    ANY_LOG,
    Differs,
    Ended,
    LogData,
    LogEnd,
    LogWant,
    Longer,
    Reap,
    Reply,
    Request,
    Start,
    build,
    build_fetch,
    frames,
)
from sshjobs.protocol.request import name_log
from sshjobs.rounds.log_state import (
    count_bytes,
    count_bytes_left,
    has_known_bytes,
    is_log_cut,
    is_log_full,
    is_log_wanted,
    is_rest_given_up,
    view_log,
    wants_cleanup,
)
from sshjobs.store import Store
from tests.test_apply import END, HOME, ID, RUNS, Heard, hear
from tests.test_round_request import MIB, Disk, add_job, collect, make_site, name_job

pytestmark = pytest.mark.quick


# -- rows ----------------------------------------------------------------------------

#: What is there and here of the first log, and of the second one.
ROW = Job(ID, "h", "c", "RUNNING", stderr_bytes=0)


def two(
    state: str, one: tuple[int, int], other: tuple[int, int], most: int = 0, **more: Any
) -> Job:
    """Return a job of whose logs so many bytes are there, and so many here."""
    return ROW._replace(
        state=state,
        log_bytes=one[0],
        log_local_bytes=one[1],
        stderr_bytes=other[0],
        stderr_local_bytes=other[1],
        max_log_bytes=most,
        **more,
    )


CASES: list[tuple[Callable[[Job], object], Job, object]] = [
    (has_known_bytes, two("FAILED", (3, 3), (2, 2)), True),
    (has_known_bytes, two("FAILED", (3, 3), (2, 1)), False),
    (has_known_bytes, two("FAILED", (3, 2), (2, 2)), False),
    (has_known_bytes, ROW._replace(log_bytes=1, log_local_bytes=1), True),
    (has_known_bytes, ROW._replace(stderr_bytes=None), True),
    (has_known_bytes, ROW._replace(stderr_bytes=1), False),
    (count_bytes, two("FAILED", (30, 20), (4, 3)), (23, 34)),
    (count_bytes, ROW._replace(log_bytes=5, stderr_bytes=None), (0, 5)),
    (is_log_full, two("FAILED", (9, 9), (9, 9)), False),
    (is_log_full, two("RUNNING", (9, 5), (9, 5), 5), True),
    (is_log_full, two("RUNNING", (9, 5), (9, 4), 5), False),
    (is_log_full, two("RUNNING", (9, 4), (9, 5), 5), False),
    (is_log_full, two("RUNNING", (9, 5), (2, 2), 5), False),
    (is_log_full, two("FAILED", (9, 5), (2, 2), 5), True),
    (is_log_full, two("FAILED", (2, 2), (9, 5), 5), True),
    (is_log_full, two("FAILED", (2, 1), (9, 5), 5), False),
    (is_log_full, two("FAILED", (9, 5), (2, 1), 5), False),
    (is_log_full, two("FAILED", (2, 2), (2, 2), 5), False),
    (is_log_full, two("FAILED", (2, 2), (2, 2), 1), True),
    (is_log_full, two("FAILED", (0, 0), (0, 0), 0), False),
    (is_log_wanted, two("FAILED", (9, 5), (2, 2), 5), False),
    (is_log_wanted, two("FAILED", (9, 5), (2, 1), 5), True),
    (is_log_cut, two("FAILED", (9, 5), (2, 2), 5), True),
    (is_log_cut, two("RUNNING", (9, 5), (9, 5), 5), False),
    (is_rest_given_up, two("FAILED", (5, 5), (9, 5), 5, log_final=True), True),
    (is_rest_given_up, two("FAILED", (5, 5), (5, 5), 5, log_final=True), False),
    (count_bytes_left, two("RUNNING", (9, 4), (7, 6)), 6),
    (count_bytes_left, two("RUNNING", (9, 4), (7, 3), 5), 3),
    (count_bytes_left, two("RUNNING", (4, 4), (3, 1), 5), 2),
    (count_bytes_left, two("FAILED", (9, 5), (2, 2), 5), 0),
    (wants_cleanup, two("FAILED", (5, 5), (6, 5), 5, cleanup="always"), False),
    (wants_cleanup, two("FAILED", (5, 5), (5, 5), 5, cleanup="always"), True),
]


@pytest.mark.parametrize(("tell", "job", "told"), CASES)
def test_a_row_tells_of_both_logs(
    tell: Callable[[Job], object], job: Job, told: object
) -> None:
    assert tell(job) == told


def test_a_row_may_be_seen_as_that_of_one_log() -> None:
    job = two("FAILED", (9, 8), (7, 6), 5, log_final=True)
    plain = job._replace(stderr_bytes=None, stderr_local_bytes=0)
    assert view_log(job, "") == plain
    assert view_log(job, STDERR) == plain._replace(log_bytes=7, log_local_bytes=6)
    assert view_log(plain, "") == view_log(plain, STDERR) == plain


# -- frames --------------------------------------------------------------------------


def test_a_log_has_the_name_of_its_job_and_stream() -> None:
    assert name_log(ID, "") == ID
    assert name_log(ID, STDERR) == f"{ID}/stderr"
    assert frames.read_log_name(ID.encode()) == (ID, "")
    assert frames.read_log_name(f"{ID}/stderr".encode()) == (ID, STDERR)
    wrong = ("/stderr", f"{ID}/", f"{ID}/stdout", f"{ID}/stderr/", f"{ID}/../x", "")
    for name in wrong:
        with pytest.raises(ValueError):
            frames.read_log_name(name.encode())


def test_lengths_are_one_or_two_counts() -> None:
    assert frames.read_lengths(b"7") == (7, None)
    assert frames.read_lengths(b"7+0") == (7, 0)
    for wrong in (b"", b"7+", b"+7", b"7+8+9", b"7+-1", b"7 8"):
        with pytest.raises(ValueError):
            frames.read_lengths(wrong)


def test_words_on_two_logs_are_read() -> None:
    end = frames.read_event(b"ended", f"{ID} 3 - - 5 6 7+8 why".encode())
    assert isinstance(end, Ended)
    assert (end.log_bytes, end.stderr_bytes, end.reason) == (7, 8, "why")
    one = frames.read_event(b"ended", f"{ID} 3 - - 5 6 7 why".encode())
    assert isinstance(one, Ended) and one.stderr_bytes is None
    longer = frames.read_event(b"longer", f"{ID}/stderr 9".encode())
    assert longer == Longer(ID, 9, STDERR)
    assert frames.read_event(b"longer", f"{ID} 9".encode()) == Longer(ID, 9)


def test_bytes_of_a_second_log_are_told_with_its_name() -> None:
    nonce = "00112233445566aa"
    reply = Reply(nonce, "gpu1")
    wire = f"sshjobs-reply 1 {nonce}\nlog {ID}/stderr 7\nabc"
    events = reply.feed(wire.encode()) + reply.feed(f"de\n{nonce} 12\n".encode())
    pieces = [event for event in events if isinstance(event, LogData)]
    assert {piece.stream for piece in pieces} == {STDERR}
    assert b"".join(piece.data for piece in pieces) == b"abcde"
    assert events[-1] == LogEnd(ID, 7, 5, 12, STDERR)
    assert reply.feed(f"log {ID} 0\n\n{nonce} 0\n".encode()) == [LogEnd(ID, 0, 0, 0)]


# -- programs ------------------------------------------------------------------------


def test_a_program_names_each_log() -> None:
    reaps = (Reap(ID, 5, 6, "ab", STDERR), Reap(ID, 7, 8, "cd"))
    program = build(Request(reaps=reaps), "N")
    assert f"sj_reap_jobs '{ID}/stderr:5:6:ab' '{ID}:7:8:cd'".encode() in program
    logs = (LogWant(ID, 1, 2), LogWant(ID, 3, 4, STDERR))
    program = build(Request(logs=logs), "N")
    assert f"sj_send_logs '{ID}' '1' '2' '{ID}/stderr' '3' '4'".encode() in program
    program, fence = build_fetch("~/b", LogWant(ID, 3, 4, STDERR), "N")
    assert f"sj_fetch_log 'N' '~/b' '{ID}/stderr' '3' '4'".encode() in program
    assert fence == b"\nsshjobs-log 1 N\n"


@pytest.mark.parametrize("split", [False, True])
def test_a_spec_tells_whether_there_are_two(split: bool) -> None:
    program = build(Request(starts=(Start(ID, Spec(b"true", split=split)),)), "N")
    assert (b"sj_split='\\''1'\\''" in program) == split


# -- words of a host -----------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "home"))
    made.sites.ensure_site("c", "h")
    return made


SPLIT = RUNS._replace(stderr_bytes=0)
#: Ended, with 4 of 9 and 2 of 5 bytes here; and with all of them.
PART = SPLIT._replace(
    state="FAILED",
    finished_at=8.0,
    log_bytes=9,
    log_local_bytes=4,
    stderr_bytes=5,
    stderr_local_bytes=2,
)
WHOLE = PART._replace(log_local_bytes=9, stderr_local_bytes=5, log_final=True)
GONE = PART._replace(state="LOST", log_bytes=4, stderr_bytes=2)


@pytest.mark.parametrize(
    ("job", "event", "columns"),
    [
        (PART, LogEnd(ID, 4, 5, 9), {"log_local_bytes": 9}),
        (PART, LogEnd(ID, 2, 3, 5, STDERR), {"stderr_local_bytes": 5}),
        (PART, LogEnd(ID, 3, 2, 5, STDERR), {}),
        (PART, LogEnd(ID, 0, 1, 5, STDERR), {}),
        (
            PART._replace(log_local_bytes=9),
            LogEnd(ID, 2, 3, 5, STDERR),
            {"stderr_local_bytes": 5, "log_final": True},
        ),
        (
            PART._replace(stderr_local_bytes=5),
            LogEnd(ID, 4, 5, 9),
            {"log_local_bytes": 9, "log_final": True},
        ),
        (
            SPLIT,
            LogEnd(ID, 0, 3, 7, STDERR),
            {"stderr_bytes": 7, "stderr_local_bytes": 3},
        ),
        (SPLIT, LogEnd(ID, 0, 3, 2), {"log_bytes": 3, "log_local_bytes": 3}),
        # One that is lost may write on: the look at the second log is the last.
        (GONE, LogEnd(ID, 4, 0, 4), {}),
        (GONE, LogEnd(ID, 2, 0, 2, STDERR), {"log_final": True}),
        (GONE, LogEnd(ID, 2, 0, 3, STDERR), {"stderr_bytes": 3}),
    ],
)
def test_a_piece_counts_for_its_own_log(
    store: Store, job: Job, event: LogEnd, columns: dict[str, Any]
) -> None:
    assert hear(store, job, event).columns == columns


@pytest.mark.parametrize(
    ("job", "event", "columns", "is_open"),
    [
        (WHOLE, Longer(ID, 6, STDERR), {"stderr_bytes": 6, "log_final": False}, True),
        (WHOLE, Longer(ID, 5, STDERR), {}, True),
        (WHOLE, Longer(ID, 10), {"log_bytes": 10, "log_final": False}, True),
        (
            WHOLE,
            Differs(ID),
            {"log_local_bytes": 0, "stderr_local_bytes": 0, "log_final": False},
            True,
        ),
        (HOME, Differs(ID), {"log_local_bytes": 0, "log_final": False}, True),
    ],
)
def test_a_log_that_is_longer_or_differs_comes_again(
    store: Store,
    job: Job,
    event: Longer | Differs,
    columns: dict[str, Any],
    is_open: bool,
) -> None:
    heard = hear(store, job, event)
    assert heard.columns == columns
    assert ("reap" not in heard.closed) == is_open


@pytest.mark.parametrize(
    ("lengths", "here", "columns"),
    [
        ((9, 5), (9, 5), {"log_bytes": 9, "stderr_bytes": 5, "log_final": True}),
        ((9, 5), (9, 4), {"log_bytes": 9, "stderr_bytes": 5}),
        ((9, 5), (8, 5), {"log_bytes": 9, "stderr_bytes": 5}),
        ((9, None), (9, 0), {"log_bytes": 9, "log_final": True}),
    ],
)
def test_an_end_has_the_lengths_of_both_logs(
    store: Store,
    lengths: tuple[int, int | None],
    here: tuple[int, int],
    columns: dict[str, Any],
) -> None:
    one, other = lengths
    job = SPLIT._replace(log_local_bytes=here[0], stderr_local_bytes=here[1])
    heard: Heard = hear(store, job, END._replace(log_bytes=one, stderr_bytes=other))
    names = ("log_bytes", "stderr_bytes", "log_final")
    assert {n: v for n, v in heard.columns.items() if n in names} == columns


# -- requests ------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk with much room."""
    made = Disk()
    monkeypatch.setattr(os, "statvfs", lambda path: made)
    return made


def write_second_log(folder: Path, number: int, size: int) -> None:
    """Have so many bytes of a second log on this machine."""
    store = Store(f"{folder}/home")
    path = store.files.locate_log(name_job(number), STDERR)
    Path(path).write_bytes(b"x" * size)
    store.close()


def test_both_logs_are_wanted_each_from_its_own_byte_on(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fields: dict[str, Any] = {"state": "FAILED", "log_bytes": 9}
    fields["log_local_bytes"] = 4
    write_second_log(tmp_path, 1, 2)
    add_job(site, 1, "log", **fields, stderr_bytes=5, stderr_local_bytes=2)
    _, request = collect(site)
    assert request.logs == (
        LogWant(name_job(1), 4, 5),
        LogWant(name_job(1), 2, 3, STDERR),
    )


def test_the_bytes_of_a_round_are_shared_out_among_logs(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    for number in range(5):
        add_job(site, number, "log", state="RUNNING", stderr_bytes=0)
    for number in range(5, 10):
        add_job(site, number, "log", state="RUNNING")
    _, request = collect(site)
    assert len(request.logs) == 15
    assert {want.limit for want in request.logs} == {32 * MIB // 15}


def test_a_second_log_is_named_before_the_first_in_a_reap(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fields: dict[str, Any] = {"state": "FAILED", "log_final": True, "log_bytes": 9}
    add_job(site, 1, "reap", **fields, log_local_bytes=9)
    write_second_log(tmp_path, 2, 5)
    fields |= {"stderr_bytes": 7, "stderr_local_bytes": 5, "max_log_bytes": 5}
    add_job(site, 2, "reap", **fields, log_local_bytes=5)
    _, request = collect(site)
    assert [reap._replace(cksum=-1, sha256="-") for reap in request.reaps] == [
        Reap(name_job(1), 9),
        Reap(name_job(2), ANY_LOG, stream=STDERR),
        Reap(name_job(2), ANY_LOG),
    ]
