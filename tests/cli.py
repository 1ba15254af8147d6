"""Drives the command line against one host, as many processes, like a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sshjobs.cli import manual
from tests.sshd import Sshd

if TYPE_CHECKING:
    import pytest

#: Every verb of the command line, by its name.
VERBS = {verb.name: verb for verb in manual.read_verbs()}

#: Longer than anything here takes; a hang shows as this.
PATIENCE = 120.0


def give_empty_home(env: dict[str, str], home: Path) -> None:
    """Make an empty home, for the jobs that processes of ours start on ``local``."""
    home.mkdir(parents=True, exist_ok=True)
    path = [str(Path(__file__).parent / "empty_home"), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    env["SJTEST_HOME"] = str(home)


def drop_waiting_words(text: str) -> str:
    """Return what was printed, without words on waits: a busy machine brings some."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if "; Ctrl-C: " not in line)


def enter_environment(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    """Let this process, and the Python API in it, have what commands would have.

    Each host has a base directory of its own, as its home has it.
    """
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSHJOBS_REMOTE_BASE_DIR", raising=False)


class Ended:
    """What a command of ours printed and ended with."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status = status
        self.raw = out
        self.out = out.decode(errors="replace")
        self.err = err.decode(errors="replace")

    def __repr__(self) -> str:
        return f"<Ended {self.status} out={self.out[:2000]!r} err={self.err[:2000]!r}>"

    @property
    def lines(self) -> list[str]:
        """Standard output, line by line."""
        return self.out.splitlines()

    @property
    def said(self) -> list[str]:
        """Standard error, line by line, without the words on what is waited for."""
        return drop_waiting_words(self.err).splitlines()

    @property
    def id(self) -> str:
        """The one id that was printed."""
        assert self.status == 0, self
        (line,) = self.lines
        return line

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as JSON objects."""
        return [json.loads(line) for line in self.lines]


class Cli:
    """A host, a home of ours, and the command line between them.

    Args:
        sshd: The server, or None for the host ``local``.
        home: ``SSHJOBS_HOME``.
        base: The base directory on the host.
    """

    def __init__(self, sshd: Sshd | None, home: Path, base: Path) -> None:
        self.sshd = sshd
        self.home = home
        self.base = base
        self.host = sshd.alias if sshd else "local"
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SSHJOBS_")
        } | {
            "SSHJOBS_HOME": str(home),
            "SSHJOBS_REMOTE_BASE_DIR": str(base),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        self.env.pop("PYTHONDONTWRITEBYTECODE")
        if sshd:
            self.env["SSHJOBS_SSH_CONFIG"] = str(sshd.config)
        else:
            give_empty_home(self.env, home.parent / "login")

    def __repr__(self) -> str:
        return f"<Cli {self.host} {self.home}>"

    def twin(self, home: Path) -> Cli:
        """Return the same host as another machine sees it."""
        return Cli(self.sshd, home, self.base)

    def start(
        self,
        *words: str | Path,
        stdin: Any = subprocess.DEVNULL,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "sshjobs", *map(str, words)],
            stdin=stdin,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            env=self.env | (env or {}),
            bufsize=0,  # a readline leaves what follows to communicate
            **options,
        )

    def __call__(
        self,
        *words: str | Path,
        stdin: bytes | None = None,
        env: dict[str, str] | None = None,
    ) -> Ended:
        """Run a command to its end."""
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        process = self.start(*words, stdin=source, env=env)
        out, err = process.communicate(stdin, timeout=PATIENCE)
        return Ended(process.returncode, out, err)

    def ok(self, *words: str | Path, stdin: bytes | None = None) -> Ended:
        """Run a command that must end with 0."""
        ended = self(*words, stdin=stdin)
        assert ended.status == 0, ended
        return ended

    def submit(self, *words: str | Path) -> str:
        """Submit a job and return its id; the words begin with flags or the command."""
        return self.ok("submit", self.host, *words).id

    def job(self, job_id: str) -> dict[str, Any]:
        """Return the record of a job as it stands here."""
        found: dict[str, Any] = json.loads(self.ok("show", job_id, "--json").out)
        return found

    def state(self, job_id: str) -> str:
        """Poll a job and return its state."""
        ended = self("poll", job_id, "--json")
        assert ended.status in (0, 1), ended
        return str(ended.objects[0]["state"])

    def directory(self, job_id: str) -> Path:
        """Return a job's directory on the host."""
        return self.base / "jobs" / job_id

    def hosts(self) -> dict[str, Any]:
        """Return the ledger of the host."""
        (row,) = self.ok("hosts", "--json").objects
        found: dict[str, Any] = row
        return found

    def close(self) -> None:
        """End the connection and what may still run on the host."""
        if self.home.exists():
            self("disconnect", self.host)


def finish(processes: Sequence[subprocess.Popen[bytes]]) -> list[Ended]:
    """Wait for commands that run side by side."""
    ends = []
    for process in processes:
        if process.stdout is not None and process.stdout.closed:
            process.stdout = None
        out, err = process.communicate(timeout=PATIENCE)
        ends.append(Ended(process.returncode, out or b"", err or b""))
    return ends


def eventually(true: Callable[[], Any], what: str = "") -> None:
    """Wait until something holds; fail if it does not within :data:`PATIENCE`."""
    end = time.monotonic() + PATIENCE / 2
    while not true():
        assert time.monotonic() < end, f"never came true: {what or true}"
        time.sleep(0.05)


def all_processes(file: str) -> Iterator[tuple[int, bytes]]:
    """Yield each process id and what its ``/proc/<pid>/<file>`` holds, if readable.

    A glob over /proc fails when a process ends in the middle of it.
    """
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError):
                yield int(name), _read_process(Path("/proc", name), file)


def _read_process(folder: Path, file: str) -> bytes:
    """Read once more what is empty only because the process is within an exec.

    A kernel thread and a zombie have no memory, and nothing more is to come of them.
    """
    for _ in range(50):
        content = (folder / file).read_bytes()
        if content or (folder / "statm").read_bytes().startswith(b"0 "):
            break
        time.sleep(0.001)
    return content


def end_jobs(base: Path) -> None:
    """Kill what still runs of jobs below a base directory, found by its files."""
    for path in base.glob("jobs/*/run"):
        mark = f"SSHJOBS_JOB_ID={path.parent.name}".encode()
        for pid, environ in all_processes("environ"):
            if mark in environ.split(b"\0"):
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
