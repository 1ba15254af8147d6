"""A process that waits for another's round: what wakes it, and how little it looks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sshjobs import processes
from sshjobs.cli import handlers
from sshjobs.rounds import Coordinator, coordinator
from sshjobs.rounds.leadership import Leadership
from sshjobs.startup import stdlib
from sshjobs.verbs.context import Context
from tests.cli import eventually

pytestmark = pytest.mark.quick

#: Leads, or seems to: writes a pid into the lock, which may be that of somebody else.
LEADS = """
import sys, time
from sshjobs.locks import FileLock
lock = FileLock(sys.argv[1])
lock.hold()
if sys.argv[2:]:
    lock.write_stamp(f"{sys.argv[2]:<15}\\n".encode("ascii"))
else:
    import os
    lock.write_stamp(f"{os.getpid():<15}\\n".encode("ascii"))
print("leads", flush=True)
time.sleep(600)
"""


@pytest.fixture
def follower(place: Path) -> Iterator[Coordinator]:
    home = {"SSHJOBS_HOME": str(place / "home")}
    with closing(Context(home, {})) as ctx, ctx.coordinator("local") as made:
        yield made


@pytest.fixture
def lead(follower: Coordinator) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a process that holds the leader's lock."""
    started: list[subprocess.Popen[bytes]] = []
    path = Path(follower.store.home, "locks", f"round.{follower.site_id}.0")

    def start(*stamp: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", LEADS, str(path), *stamp]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE))
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == b"leads\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Looks:
    """A need that is met once this process has led; counts the looks at it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = self.led = 0
        monkeypatch.setattr(Leadership, "serve_round", self._lead)

    def _lead(self, *_: object) -> None:
        self.led += 1

    def __call__(self) -> float | None:
        self.count += 1
        return None if self.led else 0.0


needs_end_of_processes = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="only Linux tells of another process's end"
)


@needs_end_of_processes
def test_the_end_of_a_killed_leader_is_heard_and_not_looked_for(
    follower: Coordinator,
    lead: Callable[..., subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A leader that is killed rings nobody; until then nobody looks at anything."""
    for name in ("_SAFETY", "_BLIND", "_LOOK"):
        monkeypatch.setattr(coordinator, name, 600.0)
    looks, leader = Looks(monkeypatch), lead()
    bells = Path(follower.rundir, f"w-{follower.site_id}")

    def kill_leader() -> None:
        eventually(lambda: bells.exists() and os.listdir(bells))
        time.sleep(0.3)
        leader.kill()

    killer = threading.Thread(target=kill_leader)
    killer.start()
    result = follower.wait_for(looks, until=time.monotonic() + 60)
    killer.join()
    assert result.is_met and looks.led == 1
    assert looks.count <= 5


@pytest.mark.parametrize("stamp", ["dead", "", "0", "9" * 15, "x"])
def test_a_stamp_that_names_no_leader_makes_nobody_spin(
    follower: Coordinator,
    lead: Callable[..., subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    stamp: str,
) -> None:
    """The holder before, until the next has written; another machine's number."""
    gone = subprocess.Popen(["true"])  # a zombie until it is waited for
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
    lead(str(gone.pid) if stamp == "dead" else stamp)
    looks = Looks(monkeypatch)
    assert not follower.wait_for(looks, until=time.monotonic() + 1.0).is_met
    gone.wait()
    assert not follower.wait_for(looks, until=time.monotonic() + 1.0).is_met
    assert 2 <= looks.count <= 12 and not looks.led


@pytest.mark.parametrize("error", [OSError(38, "no"), PermissionError(1, "no"), None])
def test_where_no_end_of_a_process_is_told_the_lock_is_tried_again(
    follower: Coordinator,
    lead: Callable[..., subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    error: OSError | None,
) -> None:
    """An older Linux, a container that forbids it, another system."""

    def refuse(_pid: int) -> int:
        assert error is not None
        raise error

    if error is None:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    else:
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    monkeypatch.setattr(coordinator, "_SAFETY", 600.0)
    looks, leader = Looks(monkeypatch), lead()
    assert processes.open_process(leader.pid) == -1
    threading.Timer(0.2, leader.kill).start()
    assert follower.wait_for(looks, until=time.monotonic() + 60).is_met


def test_no_descriptor_of_a_leader_is_left(
    follower: Coordinator,
    lead: Callable[..., subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lead()
    monkeypatch.setattr(coordinator, "_SAFETY", 0.01)
    looks = Looks(monkeypatch)
    assert not follower.wait_for(looks, until=time.monotonic() + 0.1).is_met
    opened = len(os.listdir("/dev/fd"))
    assert not follower.wait_for(looks, until=time.monotonic() + 0.5).is_met
    assert len(os.listdir("/dev/fd")) == opened


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_word_on_a_long_wait_is_thought_of_more_and_more_rarely(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    """On a terminal its clock runs on; elsewhere only a change is said."""
    timers: list[tuple[float, float]] = []
    fakes: dict[str, Callable[..., object]] = {
        "setitimer": lambda _which, first, every=0.0: timers.append((first, every)),
        "getitimer": lambda _which: (0.0, 0.0),
        "getsignal": lambda _number: signal.SIG_DFL,
        "signal": lambda *_: None,
    }
    monkeypatch.setattr(os, "isatty", lambda _fd: is_terminal)
    for name, fake in fakes.items():
        monkeypatch.setattr(stdlib.signal, name, fake)
    end = handlers._tell_waits(Context({"SSHJOBS_HOME": "/none"}, {}), "submit")
    for _ in range(5):
        handlers._handle_alarm(signal.SIGALRM, None)
    assert timers[0] == (1.4, 0.5)
    rare = [(pause, pause) for pause in (1.0, 2.0, 4.0, 4.0, 4.0)]
    assert timers[1:] == ([] if is_terminal else rare)
    end()
    handlers._handle_alarm(signal.SIGALRM, None)  # one that comes late
    assert timers[-1] == (0.0, 0.0)
