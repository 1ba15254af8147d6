"""A host for the program that runs on hosts: real shells, a home of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sshjobs import protocol
from sshjobs.model import Spec, new_job_id
from sshjobs.protocol import Check, LogWant, Reap, Reply, Request, Start
from sshjobs.rounds.checksum import Sums

E = TypeVar("E")


PATIENCE = 20.0


#: The program looks for its tools in the system's directories first.
SYSTEM_PATH = b"PATH=/usr/bin:/bin:"


class Host:
    """One home, and the shell that serves requests there.

    Args:
        home: The login directory.
        path: Where tools are looked for, ``sh`` among them.
    """

    def __init__(self, home: Path, path: str = "/usr/bin:/bin") -> None:
        self.home = home
        self.path = path
        self.base = home / ".sshjobs"
        self.jobs = self.base / "jobs"
        self.env = {"HOME": str(home), "PATH": path, "SHELL": "/bin/sh"}
        self.edit: Callable[[bytes], bytes] = lambda program: program

    def program(self, request: Request, nonce: str) -> bytes:
        """Return the program, made to look for tools in ``path`` alone."""
        program = protocol.build(request, nonce)
        if not self.path.startswith("/usr/bin"):
            assert SYSTEM_PATH in program
            program = program.replace(SYSTEM_PATH, b"PATH=")
        return self.edit(program)

    def hide_proc(self) -> None:
        """Be a host without /proc: ps tells who is there, marks cannot be seen."""
        changes = (
            (b"[ -r /proc/self/stat ] && sj_proc=1", b":"),
            (b"/proc/uptime", b"/nowhere/uptime"),
            (b"/proc/sys", b"/nowhere"),
            (b"&& [ -r /proc/self/environ ] && sj_grepz=1", b""),
        )

        def edit(program: bytes) -> bytes:
            for old, new in changes:
                assert old in program
                program = program.replace(old, new)
            return program

        self.edit = edit

    def run_program(
        self, request: Request, nonce: str, **how: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the program of a request as a login does."""
        return subprocess.run(
            [shutil.which("sh", path=self.path) or "sh"],
            input=self.program(request, nonce),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env=self.env,
            check=False,
            **how,
        )

    def run(
        self, request: Request = Request(), umask: int = 0o022
    ) -> list[protocol.Event]:
        """Serve a request and return what was said."""
        nonce = os.urandom(8).hex()
        ran = self.run_program(request, nonce, umask=umask, timeout=60)
        reply = Reply(nonce)
        events = reply.feed(ran.stdout)
        assert reply.ended, (events, ran.stdout[-500:], ran.stderr[-500:])
        return events

    def start(self, command: bytes | tuple[bytes, ...], **how: Any) -> str:
        """Start a job and return its id."""
        start = an_order(command, **how)
        said = self.run(Request(starts=(start,)))
        assert not of(protocol.Refused, said), said
        return start.job_id

    def running(
        self, command: bytes | tuple[bytes, ...], **how: Any
    ) -> protocol.Started:
        """Start a job and return how it started, once its shell is under way."""
        job_id = self.start(
            b"echo up\n" + command if isinstance(command, bytes) else command, **how
        )
        return self.started(job_id)

    def started(self, job_id: str) -> protocol.Started:
        """Return how a job started, once it has written something."""
        question = Request(checks=(Check(job_id, None, ""),))
        started = self.until(protocol.Started, question)
        log, record = self.jobs / job_id / "log", self.jobs / job_id / "run"
        wait(lambda: log.exists() and log.stat().st_size > 0)
        if not started.pgid:  # its runner notes the group once the job is forked
            wait(lambda: b"\npgid=" in record.read_bytes())
            started = self.until(protocol.Started, question)
        return started

    def check(
        self, job_id: str, pid: int | None = None, start: str = ""
    ) -> list[protocol.Event]:
        """Ask how a job does, and return what was said of it."""
        said = self.run(Request(checks=(Check(job_id, pid, start),)))
        return [event for event in said if getattr(event, "job_id", "") == job_id]

    def until(self, kind: type[E], request: Request) -> E:
        """Repeat a request until something of a kind is said."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = of(kind, self.run(request))
            if found:
                return found[0]
            time.sleep(0.03)
        raise AssertionError(f"no {kind.__name__} within {PATIENCE} s")

    def end(self, job_id: str) -> protocol.Ended:
        """Wait for the end of a job."""
        return self.until(protocol.Ended, Request(checks=(Check(job_id, None, ""),)))

    def log(self, job_id: str, offset: int = 0, limit: int = 1 << 30) -> bytes:
        """Bring a log."""
        said = self.run(Request(logs=(LogWant(job_id, offset, limit),)))
        data = b"".join(event.data for event in of(protocol.LogData, said))
        assert of(protocol.LogEnd, said)[0].length == len(data)
        return data

    def fetch(
        self, want: LogWant, word: bytes = protocol.GO, base: str = "~/.sshjobs"
    ) -> tuple[bool, bytes]:
        """Have a log fetched; return whether the fence came, and what came after it."""
        program, fence = protocol.build_fetch(base, want, os.urandom(8).hex())
        if not self.path.startswith("/usr/bin"):
            program = program.replace(SYSTEM_PATH, b"PATH=")
        with subprocess.Popen(
            [shutil.which("sh", path=self.path) or "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env=self.env,
        ) as ran:
            assert ran.stdin and ran.stdout and ran.stderr
            ran.stdin.write(program)
            ran.stdin.flush()
            ready = ran.stderr.readline() == b"ready\n"
            out, _ = ran.communicate(word, timeout=60)
        assert not ready or out.startswith(fence), out
        return ready, out[len(fence) :] if ready else out

    def kill(self, *ids: str) -> list[protocol.Event]:
        """Ask for the end of jobs."""
        return self.run(Request(kills=tuple(ids)))

    def kill_runner(self, job_id: str) -> None:
        """Kill the runner of a job, if it has said who it is."""
        with suppress(FileNotFoundError):
            run = (self.jobs / job_id / "run").read_text()
            for pid in map(int, re.findall(r"^pid=(\d+)$", run, re.M)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                wait(lambda: gone(pid))

    def marked(self) -> dict[int, str]:
        """Return the living processes of jobs in this home: pid and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                line = _mine(entry, str(self.base))
                if line is not None:
                    found[int(entry.name)] = line
        return found

    def left(self) -> list[str]:
        """Return the command lines of what lives of the jobs, their runners apart.

        A runner lives on for a moment after the end that it has published.
        """
        return [line for line in self.marked().values() if " ./runner-" not in line]


def _mine(entry: Path, base: str) -> str | None:
    try:
        environ = (entry / "environ").read_bytes().split(b"\0")
        state = (entry / "stat").read_text(errors="replace").rpartition(") ")[2][0]
        line = (
            (entry / "cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
        )
        cwd = os.readlink(entry / "cwd")
    except OSError:
        return None
    marks = [word for word in environ if word.startswith(b"SJTEST=")]
    if state in "ZX":
        return None
    return line if marks == [b"SJTEST=" + base.encode()] or cwd == base else None


def an_order(
    command: bytes | tuple[bytes, ...],
    key: str = "",
    once: bool = False,
    name: str = "",
    job_id: str = "",
    **spec: Any,
) -> Start:
    """Return an order to start a job."""
    spec.setdefault("kill_grace", 1.0)
    return Start(job_id or new_job_id(), Spec(command=command, **spec), key, once, name)


def reap_of(job_id: str, data: bytes) -> Reap:
    """Return the wish to reap a job of whose log these bytes are home."""
    sums = Sums()
    sums.update(data)
    return Reap(job_id, sums.length, sums.cksum, sums.sha256)


def of(kind: type[E], said: list[protocol.Event]) -> list[E]:
    """Return what was said of one kind."""
    return [event for event in said if isinstance(event, kind)]


def wait(ready: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(") ")[2][0] in "ZX"


def shells(folder: Path) -> dict[str, str]:
    """Return the PATHs under which ``sh`` is each shell that this machine has."""
    found = {}
    for name in ("dash", "bash", "ksh"):
        tool = shutil.which(name)
        if tool:
            (folder / name).mkdir()
            (folder / name / "sh").symlink_to(tool)
            found[name] = f"{folder / name}:/usr/bin:/bin"
    busybox = shutil.which("busybox")
    if busybox:
        (folder / "busybox").mkdir()
        subprocess.run([busybox, "--install", "-s", folder / "busybox"], check=True)
        found["busybox"] = str(folder / "busybox")
    return found


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return shells(tmp_path_factory.mktemp("shells"))


def end_all(host: Host) -> None:
    """Kill what still runs of the jobs of a host."""
    for pid in host.marked():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture(params=["dash", "bash", "busybox", "ksh"])
def any_host(
    request: pytest.FixtureRequest, tmp_path: Path, paths: dict[str, str]
) -> Iterator[Host]:
    """A host of each shell."""
    if request.param not in paths:
        pytest.skip(f"no {request.param} here")
    host = Host(tmp_path, paths[request.param])
    host.env["SJTEST"] = str(host.base)
    yield host
    end_all(host)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose ``sh`` is this machine's."""
    host = Host(tmp_path)
    host.env["SJTEST"] = str(host.base)
    yield host
    end_all(host)


def slow_child(program: bytes) -> bytes:
    """Return the program with time between the fork of a job and its first exec."""
    return program.replace(b"sj_exec_job() {\n", b"sj_exec_job() {\nsleep 0.7\n")


def dying_runner(program: bytes) -> bytes:
    """Return the program whose runners die before they note whom they have forked."""
    return slow_child(program).replace(
        b"sj_exec_job &\n", b'sj_exec_job &\nkill -9 "$sj_pid"\n'
    )


def slow_runner(program: bytes) -> bytes:
    """Return the program with time between a claim and the fork of the job."""
    return program.replace(b"sj_check_job ||", b"sleep 0.7\nsj_check_job ||")


def have_no_runner(program: bytes) -> bytes:
    """Return the program that prepares jobs, and has no runner started."""
    program = program.replace(b"sj_hear_prepared 3>&1 ||", b"false ||")
    return program.replace(b"sj_detach_runner s", b"true")


def prepared(host: Host, command: bytes) -> Start:
    """Prepare a job as a launcher does that dies before it starts it."""
    order = an_order(command)
    host.edit = have_no_runner
    host.run(Request(starts=(order,)))
    host.edit = lambda program: program
    return order


def edit_run(host: Host, job_id: str, name: str, value: str) -> None:
    """Edit a line of ``run`` as sed -i does: a new file under the old name."""
    path = host.jobs / job_id / "run"
    lines = path.read_text().splitlines()
    changed = [f"{name}={value}" if li.startswith(f"{name}=") else li for li in lines]
    (path.parent / "run.new").write_text("\n".join(changed) + "\n")
    (path.parent / "run.new").rename(path)


def forget_exit(host: Host, job_id: str) -> None:
    """Leave the end in `run` alone, which counts before its second name is there."""
    path = host.jobs / job_id / "exit"
    wait(path.exists)
    path.unlink()


def claim(host: Host, command: bytes, key: str, once: bool = False) -> protocol.Claimed:
    """Start a job under a key and return who holds it."""
    order = an_order(command, key=key, once=once)
    return of(protocol.Claimed, host.run(Request(starts=(order,))))[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    options = "size=1m,mode=0755"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True
    )
    if made.returncode:
        pytest.skip("only root may mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path) -> None:
    """Leave no block free."""
    with (place / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
