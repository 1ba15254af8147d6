"""Processes: started clean, killed only if proven."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sshjobs import processes
from sshjobs.transports import env, process

pytestmark = pytest.mark.quick


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until it is killed."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=-1) as one:
        yield one
        one.kill()


def said(place: Path, code: str, env: dict[str, str] | None = None) -> str:
    """Return what a program that is started clean writes."""
    null = os.open(os.devnull, os.O_RDWR)
    out = os.open(place / "out", os.O_CREAT | os.O_RDWR)
    try:
        argv = (sys.executable, "-S", "-c", code)
        child = process.Child(process.spawn_program(argv, env or {}, (null, out, out)))
    finally:
        os.close(null)
        os.close(out)
    assert child.wait(20)
    child.close()
    return (place / "out").read_text().strip()


def test_signals_are_at_their_defaults(place: Path) -> None:
    """sh would hide this: dash clears the mask when it starts."""
    code = (
        "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), "
        "signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)"
    )
    blocked = {signal.SIGTSTP, signal.SIGTTOU, signal.SIGUSR1}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert said(place, code) == "set() True"
    finally:
        signal.signal(signal.SIGHUP, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_session_of_its_own_and_no_environment(place: Path) -> None:
    code = "import os; print(os.getsid(0) == os.getpid(), os.environ.get('HOME'))"
    assert said(place, code) == "True None"


def test_standard_descriptors_may_be_closed_here(place: Path) -> None:
    """As under a daemon: what is handed over may itself be 0, 1 or 2."""
    code = (
        "import os\n"
        "from sshjobs.transports import process\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        f"out = os.open({str(place / 'inner')!r}, os.O_CREAT | os.O_RDWR)\n"
        "null = os.open(os.devnull, os.O_RDWR)\n"
        "argv = ('/bin/sh', '-c', 'echo out; echo err >&2; cat')\n"
        "child = process.Child(process.spawn_program(argv, {}, (null, out, out)))\n"
        "assert child.wait(20) and child.status == 0\n"
    )
    root = str(Path(process.__file__).parents[2])
    said(place, code, {"PYTHONPATH": root})
    assert (place / "inner").read_text() == "out\nerr\n"


def test_program_that_is_not_there_is_an_error(place: Path) -> None:
    with pytest.raises(FileNotFoundError):
        process.spawn_program(("/no/such/program",), {}, (0, 1, 2))


def test_which_takes_no_relative_path(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "ssh").touch(mode=0o755)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"::relative:{place}")
    assert env.find_program("ssh") == str(place / "ssh")
    monkeypatch.setenv("PATH", ".")
    assert env.find_program("ssh") == ""


def test_only_the_very_process_is_killed() -> None:
    with sleeper() as one:
        start = processes.read_start_time(one.pid)
        assert start and processes.read_start_time(one.pid) == start
        assert not processes.kill_process(one.pid, start + "1")
        assert not processes.kill_process(one.pid, "")
        assert not processes.kill_process(0, start) and not processes.kill_process(
            1, start
        )
        assert one.poll() is None
        assert processes.end_process(one.pid, start)
        assert processes.read_start_time(one.pid) is None  # a zombie counts as gone
        assert not processes.end_process(one.pid, start)


def test_child_is_killed_with_what_it_started(place: Path) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    argv = ("/bin/sh", "-c", f"sleep 60 & echo $! >{place}/pid; wait")
    child = process.Child(
        process.spawn_program(argv, {"PATH": os.defpath}, (null,) * 3)
    )
    os.close(null)
    while not (place / "pid").exists() or not (place / "pid").read_text().strip():
        assert not child.wait(0.05)
    pid = int((place / "pid").read_text())
    start = processes.read_start_time(pid)
    assert start
    child.kill()
    assert child.status == -signal.SIGKILL
    while processes.read_start_time(pid) == start:
        continue


@pytest.mark.skipif(not os.access("/bin/ps", os.X_OK), reason="no /bin/ps")
def test_systems_without_proc_are_asked_through_ps(place: Path) -> None:
    """macOS and BSD; the same words work with Linux' ps."""
    log = place / "log.k.0"
    code = "import time; time.sleep(60)"
    argv = [sys.executable, "-S", "-c", code, "-E", str(log), "box"]
    with subprocess.Popen(argv) as one:
        start = processes._read_start_by_ps(one.pid)
        assert start and start == processes._read_start_by_ps(one.pid)
        for words in ((str(log), True), (str(place / "log.k."), False)):
            found = process._carriers_by_ps(*words)
            assert [pid for pid, _ in found] == [one.pid]
        assert process._carriers_by_ps(str(place / "log"), True) == []
        one.kill()
        one.wait()
        assert processes._read_start_by_ps(one.pid) is None
