"""What stands on a host, spoilt: read by the program itself, in several shells."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from sshjobs import protocol
from sshjobs.errors import ProtocolError
from sshjobs.model import Spec
from sshjobs.protocol import Check, LogWant, Reap, Request, Start
from sshjobs.protocol.starts import key_hash
from tests.cli import all_processes
from tests.fuzz import mutate
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground

#: A job whose record stays as it was, one that is spoilt, and one that still runs.
WELL, SPOILT, RUNS = "wellaaaaaaaaaaaa", "spoiltaaaaaaaaaa", "runsaaaaaaaaaaaa"

_NONCE = "0123456789abcdef"

#: Of one round, many times what it takes on a busy machine.
_BOUND = 30.0

_SHELLS = (("dash",), ("bash", "--posix"), ("bash",), ("busybox", "sh"))
_AWKS = ("mawk", "gawk", "busybox", "original-awk")

_FILES = (
    *(
        f"jobs/{SPOILT}/{name}"
        for name in "run exit spec log script cancel lost".split()
    ),
    f"jobs/{SPOILT}",
    f"gone/{SPOILT}",
    "keys/KEY/1",
    "MACHINE/journal",
    "MACHINE/tools",
    "layout",
)

_DEEDS = (
    "spoil",
    "word",
    "line",
    "cut",
    "empty",
    "huge",
    "fifo",
    "folder",
    "link",
    "gone",
)

_LINES = (
    b"end=",
    b"status=0",
    b"status=" + b"9" * 30,
    b"signal=x",
    b"pid=1",
    b"pid=-1",
    b"pgid=1",
    b"pgid=0",
    b"node=%FF\xff",
    b"start=%FF \x1b[31m",
    b"machine=other",
    b"boot_id=other",
    b"log_bytes=-5",
    b"reason=x\x1b]0;t\x07%0Aend",
    b"sj_ok=x",
    b"sj_name='%zz'",
    b"E spoiltaaaaaaaaaa .",
)


class Records:
    """Spoils records of one job, and has the program look at all of them."""

    name = "records"
    share = 3.0

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._template = ground.work / "records.template"
        self._base = ground.work / "records"
        self._shells = [s for s in _SHELLS if shutil.which(s[0])]
        self._paths = [_awk(ground.work, name) for name in _AWKS if shutil.which(name)]
        self._fill()

    def _fill(self) -> None:
        starts = (
            Start(WELL, Spec(b"echo well"), "the key"),
            Start(SPOILT, Spec(b"echo spoilt"), "KEY"),
        )
        self._say(Request(str(self._template), starts=starts), ("sh",), "")
        end = time.monotonic() + _BOUND
        jobs = self._template / "jobs"
        while not all((jobs / one.job_id / "exit").exists() for one in starts):
            if time.monotonic() > end:
                raise RuntimeError("the jobs of the record do not end")
            time.sleep(0.02)
        (journal,) = self._template.glob("*/journal")
        self._names = {
            "MACHINE": journal.parent.name,
            "KEY": key_hash("KEY"),
        }

    def make(self, rng: random.Random) -> Case:
        """Say which shell and awk look, and what is done to which file before."""
        case = [b"%d" % rng.randrange(64)]
        for _ in range(rng.choice((1, 1, 2, 3))):
            words = (rng.choice(_DEEDS), rng.choice(_FILES), str(rng.getrandbits(32)))
            case.append(" ".join(words).encode())
        return case

    def try_one(self, case: Case) -> None:
        """Spoil it, and have two rounds look."""
        shutil.rmtree(self._base, ignore_errors=True)
        shutil.copytree(self._template, self._base, symlinks=True)
        number = int(case[0]) if case and case[0].isdigit() else 0
        shell = self._shells[number % len(self._shells)]
        path = self._paths[number // 8 % len(self._paths)] if self._paths else ""
        for deed in case[1:]:
            self._do(deed.decode("utf-8", "replace"))
        checks = tuple(Check(name, None, "") for name in (WELL, SPOILT))
        wants = (LogWant(WELL, 0, 100), LogWant(SPOILT, 0, 100))
        base = str(self._base)
        try:
            first = self._say(Request(base, checks=checks, logs=wants), shell, path)
            reaps = (Reap(SPOILT, 7),)
            kills = (SPOILT,)
            again = Request(
                base, checks=checks, kills=kills, listing=True, reaps=reaps, logs=wants
            )
            self._say(again, shell, path)
        finally:
            self._ground.check()
        self._judge(first, f"{' '.join(shell)}, {path or 'its awk'}")

    def _judge(self, events: list[protocol.Event], where: str) -> None:
        if any(isinstance(event, protocol.Failed) for event in events):
            return  # it said that it could not
        ends = [e for e in events if isinstance(e, protocol.Ended) and e.job_id == WELL]
        if not ends or (ends[-1].exit_status, ends[-1].log_bytes) != (0, 5):
            raise Broken(f"a neighbour's end is not told ({where}): {ends}")
        log = [e.data for e in events if isinstance(e, protocol.LogData)]
        if b"well\n" not in b"".join(log):
            raise Broken(f"a neighbour's log does not come ({where})")

    def _say(
        self, request: Request, shell: tuple[str, ...], path: str
    ) -> list[protocol.Event]:
        """Run one round; return what it says."""
        program = protocol.build(request, _NONCE)
        env = {"PATH": f"{path}:{os.defpath}" if path else os.defpath}
        env["HOME"] = str(self._ground.work)
        process = subprocess.Popen(
            shell,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(program, timeout=_BOUND)
        except subprocess.TimeoutExpired:
            _end_session(process.pid)
            process.communicate()
            raise Broken(f"a round hangs ({' '.join(shell)}, {path})") from None
        return self._read(out, f"{' '.join(shell)}, {path}")

    def _read(self, out: bytes, where: str) -> list[protocol.Event]:
        reply = protocol.Reply(_NONCE)
        try:
            events = reply.feed(out) + reply.feed(b"")
        except ProtocolError as error:
            raise Broken(f"a round cannot be read ({where}): {error}") from error
        failed = any(isinstance(event, protocol.Failed) for event in events)
        if not (reply.ended or failed):
            raise Broken(
                f"a round says neither end nor failed ({where}): {out[-300:]!r}"
            )
        return events

    def _do(self, deed: str) -> None:
        kind, _, rest = deed.partition(" ")
        name, _, number = rest.partition(" ")
        if name not in _FILES or kind not in _DEEDS:
            return  # a case that is being made smaller
        for word, real in self._names.items():
            name = name.replace(word, real)
        rng = random.Random(number)
        path = self._base / name
        if path.parent.is_symlink() or not path.parent.is_dir():
            return  # an earlier deed has put something else there
        if kind in ("spoil", "word", "line", "cut"):
            if path.is_file() and not path.is_symlink():
                path.write_bytes(_spoilt(rng, kind, path.read_bytes()))
            return
        _replace(rng, kind, path)


def _replace(rng: random.Random, kind: str, path: Path) -> None:
    """Put something else in the place of a record."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if kind == "empty":
        path.touch()
    elif kind == "huge":
        path.write_bytes((b"x=" + b"y" * 997 + b"\n") * 3000)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        target = rng.choice(("/dev/zero", "/dev/null", "loop", "/etc/passwd", "/"))
        path.symlink_to(path.name if target == "loop" else target)


def _spoilt(rng: random.Random, kind: str, data: bytes) -> bytes:
    if kind == "cut":
        return mutate.cut(rng, data)
    if kind == "spoil":
        return mutate.spoil(rng, data)
    lines = data.split(b"\n")
    at = rng.randrange(len(lines) + 1)
    if kind == "line" or at == len(lines):
        return b"\n".join([*lines[:at], rng.choice(_LINES), *lines[at:]])
    name, _, _ = lines[at].partition(b"=")
    value = rng.choice(mutate.HOSTILE).replace(b"\0", b"")
    lines[at] = name + b"=" + value
    return b"\n".join(lines)


def _awk(work: Path, name: str) -> str:
    """Return a directory in which awk is this one."""
    folder = work / f"awk.{name}"
    folder.mkdir()
    program = folder / "awk"
    words = "busybox awk" if name == "busybox" else name
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    return str(folder)


def _end_session(pid: int) -> None:
    """Kill what a round that hangs has started, session by session."""
    for other, _ in all_processes("cmdline"):
        with suppress(OSError):
            if os.getsid(other) == pid:
                os.kill(other, signal.SIGKILL)
