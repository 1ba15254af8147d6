"""Recordings: what the real program answers to a round of each kind."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from sshjobs import protocol
from sshjobs.model import Spec
from sshjobs.protocol import Check, LogWant, Reap, Request, Start

FOLDER = Path(__file__).parent.parent / "data" / "replies"

#: Stands for the nonce; as long as one.
NONCE = b"NONCENONCENONCEN"

# The jobs that requests are about. The targets have the same ones in their stores.
STARTING = "startingaaaaaaaa"
KEYED = "keyedaaaaaaaaaaa"
LOSER = "loseraaaaaaaaaaa"
RUNNING = "runningaaaaaaaaa"
KILLED = "killedaaaaaaaaaa"
ENDED = "endedaaaaaaaaaaa"
REAPED = "reapedaaaaaaaaaa"
MISSING = "missingaaaaaaaaa"
REFUSED = "refusedaaaaaaaaa"
WINNER = "winneraaaaaaaaaa"

ASKED = (STARTING, KEYED, LOSER, RUNNING, KILLED, ENDED, REAPED, MISSING, REFUSED)


def _start(job_id: str, line: bytes, key: str = "", shell: str = "") -> Start:
    return Start(job_id, Spec(line, kill_grace=0.2, shell=shell), key, name="n a%me")


def _requests(base: str) -> dict[str, Request]:
    """Return requests in the order in which they are sent."""
    first = (
        _start(RUNNING, b"echo begin; exec sleep 60"),
        _start(KILLED, b"trap '' TERM; while :; do sleep 1; done"),
        _start(ENDED, b"echo a log; printf 'no newline'; exit 3"),
        _start(REAPED, b"echo gone soon"),
        _start(WINNER, b"exit 0", key="the key"),
    )
    second = (
        _start(STARTING, b"exit 0"),
        _start(KEYED, b"exit 0", key="another key"),
        _start(LOSER, b"exit 0", key="the key"),
        _start(REFUSED, b"exit 0", shell="no-such-shell"),
    )
    checks = tuple(Check(job_id, None, "") for job_id in (*ASKED[3:], WINNER))
    wants = (LogWant(ENDED, 0, 1000), LogWant(RUNNING, 3, 2), LogWant(MISSING, 0, 9))
    return {
        "starts": Request(base, starts=first),
        "nothing": Request(base),
        "polls": Request(base, checks=checks),
        "logs": Request(base, checks=checks, logs=wants),
        "kills": Request(base, kills=(KILLED, MISSING)),
        "listing": Request(base, listing=True),
        "everything": Request(
            base,
            kills=(KILLED,),
            starts=second,
            checks=checks,
            logs=wants,
            listing=True,
        ),
        "reaps": Request(
            base,
            reaps=(
                Reap(REAPED, len(b"gone soon\n")),
                Reap(ENDED, 3),
                Reap(RUNNING, 0),
                Reap(MISSING, 0),
            ),
        ),
        "ended": Request(base, checks=checks, logs=wants),
    }


def _answer(request: Request) -> bytes:
    nonce = os.urandom(8).hex()
    program = protocol.build(request, nonce)
    done = subprocess.run(["sh"], input=program, stdout=subprocess.PIPE, check=True)
    return done.stdout.replace(nonce.encode(), NONCE)


def _anonymous(text: bytes) -> bytes:
    """Take the name and the boot of this machine out."""
    text = text.replace(os.uname().nodename.encode(), b"box")
    return re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"boot-1", text)


def write() -> None:
    """Make the files anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as folder:
        for name, request in _requests(f"{folder}/base").items():
            (FOLDER / f"{name}.reply").write_bytes(_anonymous(_answer(request)))
            time.sleep(1.0)
        last = Request(f"{folder}/base", kills=(RUNNING, KILLED))
        _answer(last)
        time.sleep(1.5)


def replies() -> list[bytes]:
    """Return the recordings, in a fixed order."""
    return [path.read_bytes() for path in sorted(FOLDER.glob("*.reply"))]
