"""A dozen requests, and what is sent for each: ``python -m tests.programs [REVISION]``.

It prints the bytes and a checksum of each program. With a revision of git it says
which of them differ from those that the revision builds, so that files can be moved
or split and nothing that a host reads changes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sshjobs import protocol
from sshjobs.model import Spec
from sshjobs.protocol import Check, LogWant, Reap, Request, Start

TOP = Path(__file__).parent.parent

NONCE = "0123456789abcdef"
_IDS = [
    f"{number:a>16}".translate(str.maketrans("0189", "wxyz")) for number in range(120)
]
_AT = ("12345", 678)


def _starts(count: int, key: str = "") -> tuple[Start, ...]:
    spec = Spec(b"echo it's done", env=(("A", b"b"),), timeout=60.0)
    return tuple(Start(job_id, spec, key) for job_id in _IDS[:count])


def _checks(count: int) -> tuple[Check, ...]:
    return tuple(Check(job_id, 4711, "815") for job_id in _IDS[:count])


#: What a client asks of a host, from the smallest to the most.
REQUESTS = {
    "first contact": Request(),
    "submit 1": Request(journal=_AT, starts=_starts(1)),
    "submit 3": Request(journal=_AT, starts=_starts(3)),
    "submit 120": Request(journal=_AT, starts=_starts(120)),
    "keyed": Request(journal=_AT, starts=_starts(1, "nightly")),
    "poll 1": Request(journal=_AT, checks=_checks(1)),
    "poll 100": Request(journal=_AT, checks=_checks(100)),
    "kill": Request(journal=_AT, kills=(_IDS[0],)),
    "reap": Request(journal=_AT, reaps=(Reap(_IDS[0], 5, 6, "7"),)),
    "logs": Request(journal=_AT, logs=(LogWant(_IDS[0], 0, 65536),)),
    "list": Request(journal=_AT, listing=True),
    "forget": Request(journal=_AT, forgets=_checks(1)),
    "doctor": Request(examine=True),
    "all": Request(
        journal=_AT,
        starts=_starts(1),
        checks=_checks(1),
        reaps=(Reap(_IDS[2], 5),),
        logs=(LogWant(_IDS[0], 0, 9),),
    ),
}


def build_programs() -> dict[str, bytes]:
    """Return what is sent for each of the requests, a watch and a fetch."""
    programs = {name: protocol.build(one, NONCE) for name, one in REQUESTS.items()}
    programs["watch"] = protocol.build_watch("~/.sshjobs", _AT, NONCE)
    want = LogWant(_IDS[0], 0, 65536)
    programs["fetch"] = protocol.build_fetch("~/.sshjobs", want, NONCE)[0]
    return programs


def _describe() -> list[str]:
    sums = {
        name: (len(program), hashlib.sha256(program).hexdigest()[:16])
        for name, program in build_programs().items()
    }
    return [f"{size:7} {digest} {name}" for name, (size, digest) in sums.items()]


def _describe_revision(revision: str) -> list[str]:
    """Return what that revision's own sshjobs says of the same requests."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", revision, "sshjobs"],
            cwd=TOP,
            check=True,
            capture_output=True,
        )
        subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        tests = Path(folder) / "tests"
        tests.mkdir()
        (tests / "programs.py").write_text(Path(__file__).read_text("utf-8"))
        said = subprocess.run(
            [sys.executable, "-m", "tests.programs"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": folder},
            check=True,
            capture_output=True,
            text=True,
        )
    return said.stdout.splitlines()


def main(arguments: list[str]) -> int:
    """Print the programs; with a revision, fail if they are not those of it."""
    ours = _describe()
    theirs = _describe_revision(arguments[0]) if arguments else ours
    for line, other in zip(ours, theirs):
        print(line if line == other else f"{line}  (was {other[:24]})")
    return int(ours != theirs)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
