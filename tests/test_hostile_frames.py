"""Every frame, every field, every value that a host might try."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshjobs.errors import ProtocolError, SshJobsError, StoreError
from sshjobs.model import Spec
from sshjobs.protocol.frames import FRAME_READERS
from sshjobs.verbs.adopt import adopt_listed_jobs
from tests.liar import (
    CHECKS,
    FORGETS,
    HOME,
    KILLS,
    LOGS,
    NOBODYS,
    OURS,
    REAPS,
    STARTS,
    THEIRS,
    Liar,
    Scene,
)

pytestmark = pytest.mark.quick

#: A right frame of each kind, field by field; "~" stands for a space in a text.
FRAMES: dict[str, list[str]] = {
    "hello": ["node", "boot", "12.5", "setsid,no-mark"],
    "journal": ["77", "4096"],
    "started": [CHECKS, "10", "11", "987", "boot", "node", "13.5"],
    "ended": [CHECKS, "3", "-", "-", "13.5", "14.25", "99", "a~text"],
    "ended signal": [CHECKS, "-", "9", "timeout", "-", "-", "0", ""],
    "prepared": [STARTS],
    "queued": [STARTS, "slurm:276:main", "Priority"],
    "claimed": [STARTS, NOBODYS, "3", "RUNNING", "1"],
    "refused": [STARTS, "ENOSPC", "no~room"],
    "killsent": [KILLS],
    "killmissing": [KILLS],
    "lost": [CHECKS, "rebooted"],
    "missing": [CHECKS],
    "elsewhere": [CHECKS, "node7"],
    "unsupervised": [CHECKS],
    "due": [CHECKS],
    "unseen": [CHECKS, "not~listed"],
    "reaped": [REAPS],
    "unreaped": [REAPS, "a~link"],
    "unforgotten": [FORGETS, "it~runs"],
    "longer": [REAPS, "108894"],
    "differs": [REAPS],
    "nolog": [LOGS, "gone"],
    "listed": [NOBODYS, "RUNNING", "5.5", "node", "7", "abc", "name", "key"],
    "odd": ["x?y", "not~a~name"],
    "fact": ["space", "99999"],
    "failed": ["EBASE", "no~such~thing"],
    "log": [LOGS, str(len(HOME))],
}

VALUES: list[bytes] = [
    b"",
    b"-",
    b"x",
    b".",
    b"..",
    b"../../x",
    b"../../../../x",
    b"..%2F..%2Fx",
    b"%2E%2E/x",
    b"SECRET",
    b"SECRET%00",
    b"store.db",
    b"/dev/null",
    b"a" * 15,
    b"a" * 17,
    b"A" * 16,
    b"a" * 15 + b"1",
    b"a" * 15 + b"\xe4",
    b"a" * 15 + b"%0A",
    THEIRS.encode(),
    NOBODYS.encode(),
    *(job_id.encode() for job_id in OURS),
    b"%FF",
    b"\xff\xfe",
    b"%ED%A0%80",
    b"%00",
    b"\x00",
    b"%0Aend%0A",
    b"\x1b[31m\x07",
    b"%1B]0;owned%07",
    b"\r",
    b"*",
    b"$(touch${IFS}x)",
    b"';touch%20x;'",
    b"%s%n{0}",
    b"-1",
    b"+1",
    b" ",
    b"0",
    b"256",
    b"128",
    b"1_0",
    b"0x10",
    b"1e308",
    b"1e99",
    b"nan",
    b"inf",
    b"-inf",
    b"99999999999999999999",
    b"9" * 5000,
    b"9" * 15,
    b"99999999999",
    b"1.5",
    b"1." + b"0" * 5000,
    b"\xd9\xa1\xd9\xa2",
    b"COMPLETED",
    b"FAILED",
    b"LOST",
    b"NOSUCHSTATE",
    b"cancelled",
    b"n" * 70_000,
    b"%0A" * 30_000,
]


def frame(kind: str, field: int = -1, value: bytes = b"") -> bytes:
    """Return a frame, one of its fields replaced."""
    words = [word.encode() for word in FRAMES[kind]]
    if field >= 0:
        words[field] = value
    words = [word.replace(b"~", b" ") for word in words]
    line = b" ".join([kind.split()[0].encode(), *words]) + b"\n"
    if kind == "log":
        line += b"written by the host\nNONCE %d\n" % (len(HOME) + 19)
        line = line.replace(b"\nNONCE", b"\n\nNONCE")
    return line


def values(scene: Scene) -> Iterator[bytes]:
    """Yield all values; the paths are those of this tree."""
    secret = str(scene.user / ".ssh" / "id_demo").encode()
    for value in VALUES:
        yield value.replace(b"SECRET", secret)


@pytest.fixture
def scene(place: Path) -> Iterator[Scene]:
    made = Scene(place)
    yield made
    made.close()


@pytest.mark.parametrize("kind", FRAMES)
def test_a_right_frame_counts(scene: Scene, kind: str) -> None:
    error = scene.hear(frame(kind) + b"end\n", listing=True)
    assert error is None or kind == "failed", error
    # An examination alone has facts.
    strays = "not asked about" in scene.coordinator.site.row().cause
    assert strays if kind == "fact" else scene.coordinator.site.row().cause == ""
    scene.check()


def test_no_frame_is_left_out(scene: Scene) -> None:
    known = {b"log", *FRAME_READERS} - {b"beat", b"end"}  # they have no field
    assert {kind.split()[0].encode() for kind in FRAMES} == known


CELLS = [(kind, field) for kind, words in FRAMES.items() for field in range(len(words))]
FATAL = ("hello", "journal", "log", "failed")


@pytest.mark.parametrize(
    ("kind", "field"), [cell for cell in CELLS if cell[0] not in FATAL]
)
def test_a_hostile_field_costs_its_job(scene: Scene, kind: str, field: int) -> None:
    """All values in one reply: the rest of it counts all the same."""
    lines = b"".join(frame(kind, field, value) for value in values(scene))
    ended = b"ended %s 5 - - 1 2 0 \n" % LOGS.encode()
    for listing in (True, False):
        scene.refill()
        error = scene.hear(lines + ended + b"end\n", listing=listing)
        assert error is None, error
        scene.check()
        job = scene.store.jobs.find_job(LOGS)
        assert job is not None
        if LOGS.encode() not in lines:
            assert (job.state, job.exit_status) == ("FAILED", 5)
        scene.coordinator.store.sites.count_events(
            scene.coordinator.site_id, {}, journal_gen=""
        )


@pytest.mark.parametrize(
    ("kind", "field"), [cell for cell in CELLS if cell[0] in FATAL]
)
def test_a_hostile_field_of_the_round_fails_the_round(
    scene: Scene, kind: str, field: int
) -> None:
    for value in values(scene):
        scene.refill()
        error = scene.hear(frame(kind, field, value) + b"end\n", listing=True)
        assert error is None or isinstance(error, SshJobsError)
        if isinstance(error, ProtocolError):
            assert error.host == "local" and str(error).isprintable()
        scene.check()


def test_an_id_that_is_a_path_is_no_id(scene: Scene) -> None:
    secret = scene.user / ".ssh" / "id_demo"
    for kind, words in FRAMES.items():
        for field, word in enumerate(words):
            if word in (*OURS, NOBODYS):
                scene.hear(frame(kind, field, str(secret).encode()) + b"end\n")
                scene.hear(frame(kind, field, b"../../../../x") + b"end\n")
    assert secret.read_text() == "canary .ssh/id_demo"
    scene.check()


@pytest.mark.parametrize("kind", ["started", "ended", "lost", "missing", "refused"])
def test_a_host_has_no_say_in_jobs_of_another(scene: Scene, kind: str) -> None:
    assert scene.hear(frame(kind, 0, THEIRS.encode()) + b"end\n") is None
    assert "not asked" in scene.coordinator.site.row().cause
    scene.check()


def test_a_job_of_another_host_holds_no_key_here(scene: Scene) -> None:
    (intent,) = [
        i
        for i in scene.store.intents.list_open(scene.coordinator.site_id)
        if i.kind == "start"
    ]
    said = b"claimed %s %s 1 RUNNING 1\n" % (STARTS.encode(), THEIRS.encode())
    said += b"started %s 1 1 1 b n 1\n" % THEIRS.encode()
    assert scene.hear(said + b"ended %s 0 - - 1 2 0 \nend\n" % THEIRS.encode()) is None
    assert (
        "job of elsewhere"
        in scene.store.intents.read_outcomes([intent.id])[intent.id].note
    )
    assert scene.store.jobs.find_job(STARTS) is None
    scene.check()


LOG_FRAMES = {
    "of a job that was not asked": (CHECKS, 0, b"x"),
    "of another host": (THEIRS, 0, b"x"),
    "of nobody": (NOBODYS, 0, b"x"),
    "before its place": (LOGS, 0, b"x"),
    "behind its place": (LOGS, len(HOME) + 1, b"x"),
    "too long": (LOGS, len(HOME), bytes(5_000_000)),
}


@pytest.mark.parametrize("what", LOG_FRAMES)
def test_log_bytes_that_were_not_asked_for_are_not_written(
    scene: Scene, what: str
) -> None:
    job_id, offset, data = LOG_FRAMES[what]
    said = b"log %s %d\n%s\nNONCE %d\nend\n"
    error = scene.hear(said % (job_id.encode(), offset, data, len(data)))
    assert isinstance(error, ProtocolError) and error.host == "local"
    scene.check()
    assert (
        os.path.getsize(scene.store.files.locate_log(LOGS))
        <= len(HOME) + 4 * 1024 * 1024
    )


def test_a_log_comes_once(scene: Scene) -> None:
    piece = frame("log")
    error = scene.hear(piece + piece.replace(b"written", b"changed") + b"end\n")
    assert isinstance(error, ProtocolError)
    log = Path(scene.store.files.locate_log(LOGS)).read_bytes()
    assert log == HOME + b"written by the host\n"
    scene.check()


@pytest.mark.parametrize("value", ["../../x", "/etc/passwd", "", "a" * 15, "A" * 16])
def test_the_record_names_no_file_by_anything_but_an_id(
    scene: Scene, value: str
) -> None:
    for do in (
        scene.store.files.locate_log,
        scene.store.files.read_spec,
        scene.store.files.drop_spec,
        scene.store.jobs.drop_job,
        lambda name: scene.store.jobs.forget_jobs([name]),
        lambda name: scene.store.files.save_spec(name, Spec(b"x")),
        lambda name: scene.store.files.sync_specs([name]),
    ):
        with pytest.raises(StoreError, match="not the id of a job"):
            do(value)
    scene.check()


def test_a_reply_that_breaks_a_rule_is_not_whole(scene: Scene) -> None:
    """It came in one piece, its end with it; what stands behind is not known."""
    broken = b"log %s 0\nx\nNONCE 1\n" % CHECKS.encode()
    killed = b"killsent %s\n" % KILLS.encode()
    said = b"hello n b 1 setsid\njournal 5 9\n" + killed + broken + b"lost %s x\nend\n"
    assert isinstance(scene.hear(said % CHECKS.encode()), ProtocolError)
    row = scene.coordinator.site.row()
    assert (row.rounds, row.round_started_at, row.journal_gen) == (0, 0.0, "")
    kinds = [
        intent.kind
        for intent in scene.store.intents.list_open(scene.coordinator.site_id)
    ]
    assert "kill" in kinds
    scene.check()


def test_a_round_that_failed_forgets_nothing_that_has_started(scene: Scene) -> None:
    started = b"started %s 1 1 1 b n 1\n" % STARTS.encode()
    assert scene.hear(started + frame("failed") + b"end\n") is not None
    job = scene.store.jobs.find_job(STARTS)
    assert job is not None and job.state == "RUNNING"
    scene.refill()
    assert scene.hear(frame("failed") + b"end\n") is not None
    assert scene.store.jobs.find_job(STARTS) is None
    scene.check()


@pytest.mark.parametrize("field", range(len(FRAMES["listed"])))
def test_what_is_taken_up_can_be_kept_and_shown(scene: Scene, field: int) -> None:
    scene.lead.release()
    coordinator = scene.coordinator
    lines = b""
    for number, value in enumerate(values(scene)):
        words = [word.encode() for word in FRAMES["listed"]]
        words[0] = b"h" * 14 + b"%c%c" % (97 + number % 26, 97 + number // 26)
        words[field] = value
        lines += b"listed " + b" ".join(words) + b"\n"
    coordinator.leadership._transport = Liar(lines + b"end\n")
    ids, _ = adopt_listed_jobs(coordinator, lambda listed: True)
    assert len(ids) >= 3 or field == 0
    assert THEIRS not in ids
    scene.check()
