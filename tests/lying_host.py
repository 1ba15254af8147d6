"""A host that lies: run by sshd in place of what was asked for (ForceCommand).

It reads the program that was sent, takes the nonce out of it, and then says what the
scenario wants, behind a right fence. The first argument names a file that holds the
scenario, so that a test changes it without a new connection; "" is an honest host.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

#: A job id that nobody here has, and what a terminal would obey.
FOREIGN = b"z" * 16
ESCAPES = b"\x1b]0;owned\x07\x1b[2J"

_NONCE = re.compile(rb"sj_(?:open_round|fetch_log|examine_host) '([0-9a-f]{16,64})'")
_ENDS = (b"}\nexit 0\n", b"exit 0\n}\n", b"}\nexit\n")
_KINDS = (
    (b"sj_life=", "watch"),
    (b"\nsj_fetch_log '", "fetch"),
    (b"\nsj_examine_host '", "doctor"),
)


class Asked:
    """What was sent: of which kind, with which nonce, about which jobs."""

    def __init__(self, program: bytes) -> None:
        self.program = program
        self.kind = next((kind for mark, kind in _KINDS if mark in program), "round")
        found = _NONCE.search(program)
        self.nonce = found[1] if found else b"0" * 16
        request = program[found.start() if found else 0 :]
        ids = re.findall(rb"\b[a-z2-7]{16}\b", request)
        self.ids = list(dict.fromkeys(ids)) or [FOREIGN]
        self.logs = re.findall(rb"'([a-z2-7]{16})' '(\d+)' '(\d+)'", request)
        word = b"log" if self.kind == "fetch" else b"reply"
        self.fence = b"\nsshjobs-%s 1 %s\n" % (word, self.nonce)
        self.hello = self.fence + b"hello box boot %d setsid\n" % time.time()
        self.hello += b"journal 1 1\n"


def read_program() -> bytes:
    """Read standard input up to the end of the program."""
    program = b""
    while not program.endswith(_ENDS):
        piece = os.read(0, 1 << 16)
        if not piece:
            break
        program += piece
    return program


Lie = Callable[[Asked], Iterator[bytes]]
LIES: dict[str, Lie] = {}


def lie(kinds: str = "round fetch watch doctor") -> Callable[[Lie], Lie]:
    """Note a scenario, which answers programs of these kinds; others have the truth."""

    def note(function: Lie) -> Lie:
        name = function.__name__.replace("_", "-")
        LIES[name] = function
        KINDS[name] = kinds.split()
        return function

    return note


KINDS: dict[str, list[str]] = {}


def for_ever(piece: bytes, *, pause: float = 0.0) -> Iterator[bytes]:
    """Say the same again and again, as fast as it goes or with pauses."""
    if not pause:
        piece *= max(1, 65536 // len(piece))
    while True:
        yield piece
        time.sleep(pause)


def drip(piece: bytes) -> Iterator[bytes]:
    """Say the same again and again, a byte a time, some a second."""
    while True:
        for byte in piece:
            yield bytes([byte])
            time.sleep(0.3)


def head(asked: Asked) -> bytes:
    """Return what an honest answer begins with."""
    return asked.fence if asked.kind == "fetch" else asked.hello


# -- nothing, or not enough


@lie()
def silence(asked: Asked) -> Iterator[bytes]:
    poll = select.poll()
    for fd in (1, 2):
        poll.register(fd, 0)
    while not any(state & select.POLLERR for _, state in poll.poll(500)):
        yield b""


@lie()
def close_at_once(asked: Asked) -> Iterator[bytes]:
    return iter(())


@lie()
def status_zero(asked: Asked) -> Iterator[bytes]:
    yield b"no such thing here\n"
    os._exit(0)


@lie()
def status_127(asked: Asked) -> Iterator[bytes]:
    yield b"command not found\n"
    sys.stdout.flush()
    os._exit(127)


@lie()
def status_255(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    os._exit(255)


@lie()
def killed(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    os.kill(os.getpid(), 9)


@lie()
def fence_then_silence(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    yield from silence(asked)


@lie()
def fence_then_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked) + b"end\n" * (asked.kind == "round")


@lie()
def half_closed(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    os.close(1)
    yield from silence(asked)


@lie()
def wrong_nonce(asked: Asked) -> Iterator[bytes]:
    asked.fence = asked.fence.replace(asked.nonce, b"f" * len(asked.nonce))
    yield asked.fence + b"hello box boot 1 setsid\nend\n"


# -- before the fence


@lie()
def noise_without_end(asked: Asked) -> Iterator[bytes]:
    return for_ever(b"Welcome to this host. " + ESCAPES + b"\n")


@lie()
def noise_in_drips(asked: Asked) -> Iterator[bytes]:
    return drip(b"Welcome\n")


@lie()
def noise_in_slow_drips(asked: Asked) -> Iterator[bytes]:
    return for_ever(b"W", pause=1.4)


@lie()
def noise_by_the_line(asked: Asked) -> Iterator[bytes]:
    return for_ever(b"sshjobs-reply 1 \nhello\nend\n", pause=0.2)


@lie()
def zeros_without_end(asked: Asked) -> Iterator[bytes]:
    return for_ever(bytes(4096))


# -- standard error


@lie()
def stderr_in_drips(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    for piece in drip(b"."):
        os.write(2, piece)
        yield b""


@lie()
def stderr_then_end(asked: Asked) -> Iterator[bytes]:
    for _ in range(2000):
        os.write(2, b"E" * 65536)
        yield b""
    yield head(asked) + b"end\n" * (asked.kind == "round")


@lie()
def stderr_without_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    for piece in for_ever(ESCAPES):
        os.write(2, piece)
        yield b""


# -- frames


@lie("round watch")
def beats_without_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    yield from for_ever(b"beat\n")


@lie("round watch")
def beats_in_drips(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    yield from for_ever(b"beat\n", pause=0.3)


@lie("round watch")
def beats_in_slow_drips(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    yield from for_ever(b"beat\n", pause=1.0)


@lie("round watch")
def a_frame_in_drips(asked: Asked) -> Iterator[bytes]:
    yield head(asked) + b"lost " + asked.ids[0] + b" "
    yield from drip(b"x")


@lie("round watch")
def a_line_without_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked) + b"lost " + asked.ids[0] + b" "
    yield from for_ever(b"x")


def frames(name: str, frame: bytes) -> None:
    """Note a scenario of one frame without end, about a job asked about or another."""

    def own(asked: Asked) -> Iterator[bytes]:
        yield head(asked)
        yield from for_ever(frame.replace(b"ID", asked.ids[0]))

    def foreign(asked: Asked) -> Iterator[bytes]:
        yield head(asked)
        yield from for_ever(frame.replace(b"ID", FOREIGN))

    own.__name__, foreign.__name__ = f"{name}_without_end", f"foreign_{name}"
    lie("round")(own)
    lie("round")(foreign)


frames("lost", b"lost ID gone %1B[2J\n")
frames("started", b"started ID 1 1 1 boot box 1.0\n")
frames("claimed", b"claimed ID " + FOREIGN + b" 1 RUNNING 1\n")
frames("refused", b"refused ID EOTHER no\n")
frames("listed", b"listed ID RUNNING 1.0 box 1 - %1B[2J -\n")
frames("log", b"log ID 0\n\nNONCE 1\n")


#: Files that stand beside the record, as seen from its specs and logs.
_FILES = (b"../../a", b"../../logs/x", b"../store.db")


@lie("round")
def names_of_files(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    for name in _FILES:
        for frame in (
            b"killsent %b\n",
            b"killmissing %b\n",
            b"started %b 1 1 1 boot box 1.0\n",
            b"ended %b 0 - - 1.0 2.0 0 \n",
            b"refused %b EOTHER no\n",
            b"reaped %b\n",
            b"nolog %b gone\n",
            b"listed %b COMPLETED 1.0 box 1 - a b\n",
        ):
            yield frame % name
        yield b"claimed %b %b 1 COMPLETED 1\n" % (asked.ids[0], name)
    yield b"end\n"


@lie("round")
def a_log_of_a_file(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    for name in _FILES:
        yield b"log %b 0\nowned\n\n%b 6\n" % (name, asked.nonce)
    yield b"end\n"


@lie("round")
def bytes_that_are_home(asked: Asked) -> Iterator[bytes]:
    job_id, offset, _ = _wanted(asked)
    yield head(asked) + b"log %b 0\n" % job_id + b"L" * (offset + 1)
    yield b"\n%b %d\nend\n" % (asked.nonce, offset + 1)


@lie("round")
def strange_entries_without_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    number = 0
    while True:
        yield b"".join(b"odd entry%d no\n" % n for n in range(number, number + 1000))
        number += 1000


@lie("round")
def other_jobs_without_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    letters = b"abcdefghijklmnopqrstuvwxyz234567"
    while True:
        for _ in range(100):
            job = bytes(letters[byte & 31] for byte in os.urandom(16))
            yield b"listed %b COMPLETED 1.0 box 1 - a b\n" % job + b"lost %b x\n" % job


@lie("round")
def a_listing_in_drips(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    number = 0
    while True:
        number += 1
        job = b"".join(b"%c" % (97 + int(digit)) for digit in f"{number:016}")
        yield b"listed %b COMPLETED 1.0 box 1 - a b\n" % job
        time.sleep(0.1)


@lie("round")
def a_listing_of_huge_names(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    number = 0
    while True:
        number += 1
        job = b"".join(b"%c" % (97 + int(digit)) for digit in f"{number:016}")
        yield b"listed %b RUNNING 1.0 box 1 - %b %b\n" % (job, b"a" * 900, b"b" * 900)


@lie("round watch")
def greetings_without_end(asked: Asked) -> Iterator[bytes]:
    yield asked.fence
    yield from for_ever(b"hello box boot 1.0 setsid\njournal 1 1\n")


@lie("round watch")
def more_after_the_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked) + b"end\n"
    yield from for_ever(b"logout\n")


@lie("round watch")
def drips_after_the_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked) + b"end\n"
    yield from drip(b"logout\n")


@lie("watch")
def news_without_end(asked: Asked) -> Iterator[bytes]:
    yield head(asked)
    yield from for_ever(b"E " + FOREIGN + b" .\nbeat\n")


# -- logs


def _wanted(asked: Asked) -> tuple[bytes, int, int]:
    if not asked.logs:
        return asked.ids[0], 0, 1
    job_id, offset, limit = asked.logs[0]
    return job_id, int(offset), int(limit)


@lie("round")
def a_log_without_end(asked: Asked) -> Iterator[bytes]:
    job_id, offset, _ = _wanted(asked)
    yield head(asked) + b"log %b %d\n" % (job_id, offset)
    yield from for_ever(b"L" * 65536)


@lie("round")
def a_log_in_drips(asked: Asked) -> Iterator[bytes]:
    job_id, offset, _ = _wanted(asked)
    yield head(asked) + b"log %b %d\n" % (job_id, offset)
    yield from drip(b"L")


@lie("round")
def a_byte_over_the_limit(asked: Asked) -> Iterator[bytes]:
    job_id, offset, limit = _wanted(asked)
    yield head(asked) + b"log %b %d\n" % (job_id, offset)
    yield b"L" * (limit + 1)
    yield b"\n%b %d\nend\n" % (asked.nonce, offset + limit + 1)


@lie("round")
def a_log_of_a_huge_size(asked: Asked) -> Iterator[bytes]:
    job_id, offset, _ = _wanted(asked)
    yield head(asked) + b"log %b %d\nsome" % (job_id, offset)
    yield b"\n%b %d\nend\n" % (asked.nonce, 1 << 62)


@lie("round")
def a_log_far_behind(asked: Asked) -> Iterator[bytes]:
    job_id, _, _ = _wanted(asked)
    yield head(asked) + b"log %b %d\nsome" % (job_id, 1 << 40)
    yield b"\n%b %d\nend\n" % (asked.nonce, 1 << 41)


@lie("fetch")
def a_fetch_without_end(asked: Asked) -> Iterator[bytes]:
    yield asked.fence
    os.read(0, 16)
    yield from for_ever(b"F" * 65536)


@lie("fetch")
def a_fetch_in_drips(asked: Asked) -> Iterator[bytes]:
    yield asked.fence
    os.read(0, 16)
    yield from drip(b"F")


@lie("doctor")
def facts_without_end(asked: Asked) -> Iterator[bytes]:
    yield asked.fence
    yield from for_ever(b"fact missing " + ESCAPES + b"\n")


def main() -> None:
    """Answer one session."""
    with open(sys.argv[1]) as file:
        name = file.read().strip()
    program = read_program()
    asked = Asked(program)
    if not name or asked.kind not in KINDS[name]:
        honest(program)
    try:
        for piece in LIES[name](asked):
            rest = memoryview(piece.replace(b"NONCE", asked.nonce))
            while rest:
                rest = rest[os.write(1, rest) :]
    except BrokenPipeError:
        os._exit(1)


def honest(program: bytes) -> None:
    """Be what was asked for: a shell that runs the program."""
    ends = os.pipe()
    if len(program) > 60_000:  # more than a pipe holds
        sys.exit(subprocess.run(["sh"], input=program, check=False).returncode)
    os.write(ends[1], program)
    if os.fork():
        os.dup2(ends[0], 0)
        os.close(ends[0])
        os.close(ends[1])
        os.execv("/bin/sh", ["sh"])
    os.close(ends[0])
    os.close(1)
    os.close(2)
    while piece := os.read(0, 4096):  # what comes later: a word, or the end of it all
        os.write(ends[1], piece)
    os._exit(0)


if __name__ == "__main__":
    main()
