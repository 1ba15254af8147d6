"""Locks by a clock of the test, beats, forks, and the processes that hold them."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sshjobs import locks
from sshjobs.errors import StoreError
from sshjobs.holders import describe_holders
from sshjobs.locks import Bell, FileLock, LeaderLock

pytestmark = pytest.mark.quick


class Clock:
    """Stands in for ``time``: a sleep is written down, and takes half a second."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.sleeps: list[float] = []

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        assert len(self.sleeps) < 100, "it waits for ever"
        self.now += 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(locks, "time", made)
    return made


# -- waits and beats ------------------------------------------------------------------


def test_a_lock_is_waited_for_twenty_seconds(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "lock")
    with FileLock(path) as holder:
        assert holder.try_to_hold()
        with pytest.raises(StoreError, match="held the lock for 20 s"):
            FileLock(path).hold()
    assert clock.sleeps == [0.02] * 40


def test_a_lock_that_comes_free_is_taken(tmp_path: Path, clock: Clock) -> None:
    one, two = (FileLock(str(tmp_path / "lock")) for _ in range(2))
    one.hold()
    clock.sleep = lambda seconds: one.release()  # type: ignore[method-assign]
    with two as same:
        two.hold()
        assert same is two and repr(two) == f"<FileLock {two.path} held>"
    assert repr(two) == f"<FileLock {two.path}>"


@pytest.mark.parametrize(
    ("age", "is_stale"), [(0.0, 0), (15.0, 0), (15.5, 1), (-15.0, 0), (-15.5, 1)]
)
def test_a_beat_is_stale_after_fifteen_seconds(
    tmp_path: Path, clock: Clock, age: float, is_stale: int
) -> None:
    lock = FileLock(str(tmp_path / "lock"))
    with lock:
        assert lock.try_to_hold()
        os.utime(lock.path, (0.0, clock.now - age))
        assert lock.has_stale_beat() == bool(is_stale)


def test_a_leader_shows_a_beat_every_two_seconds(tmp_path: Path, clock: Clock) -> None:
    leader = LeaderLock(str(tmp_path), "c", lambda: 0, lambda seen: False)
    path = tmp_path / "round.c.0"

    def shows_beat(seconds: float) -> bool:
        os.utime(path, (0.0, 0.0))
        clock.now += seconds
        leader.show_beat()
        return path.stat().st_mtime > 0

    assert leader.try_to_lead()
    assert repr(leader) == f"<LeaderLock {tmp_path}/round.c.0>"
    told = [shows_beat(seconds) for seconds in (1.5, 0.5, 1.5, 0.5, 9.0, 0.0)]
    assert told == [False, True, False, True, True, False]
    leader.release()
    assert not leader.is_held and not shows_beat(9.0)


def test_a_leader_writes_its_pid_into_the_file(tmp_path: Path) -> None:
    leader = LeaderLock(str(tmp_path), "c", lambda: 3, lambda seen: False)
    assert leader.try_to_lead() and leader.generation == 3
    text = (tmp_path / "round.c.3").read_bytes()
    assert text == b"%-15d\n" % os.getpid()
    leader.release()


def test_a_lock_that_cannot_be_stamped_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    leader = LeaderLock(str(tmp_path), "c", lambda: 0, lambda seen: False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreError, match="No space left"):
            leader.try_to_lead()
    assert not leader.is_held
    assert leader.try_to_lead()
    leader.release()


def test_who_is_overtaken_while_it_locks_does_not_lead(tmp_path: Path) -> None:
    """And the lock is free: the store moved on between its two looks."""
    answers = iter([0, 1, 0, 0])
    leader = LeaderLock(
        str(tmp_path), "c", lambda: next(answers), lambda seen: pytest.fail("moved")
    )
    assert not leader.try_to_lead() and not leader.is_held
    assert leader.try_to_lead()
    leader.release()


def test_a_stale_beat_moves_nothing_that_another_has_moved(tmp_path: Path) -> None:
    holder = FileLock(str(tmp_path / "round.c.0"))
    with holder:
        assert holder.try_to_hold()
        os.utime(holder.path, (0, 0))
        late = LeaderLock(str(tmp_path), "c", lambda: 0, lambda seen: False)
        assert not late.try_to_lead()
        assert os.listdir(tmp_path) == ["round.c.0"]


@pytest.mark.parametrize("error", [BlockingIOError(11, "busy"), OSError(37, "none")])
def test_a_lock_that_is_not_had_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*_: object) -> None:
        raise error

    lock = FileLock(str(tmp_path / "lock"))
    opened = sorted(os.listdir("/dev/fd"))
    monkeypatch.setattr(fcntl, "flock", refuse)
    if isinstance(error, BlockingIOError):
        assert not lock.try_to_hold()
    else:
        with pytest.raises(StoreError, match="none"):
            lock.try_to_hold()
    assert sorted(os.listdir("/dev/fd")) == opened and not lock.is_held


def test_the_signals_of_a_terminal_are_let_in_again(tmp_path: Path) -> None:
    """One that was blocked before the lead stays so."""
    stops = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN})
    leader = LeaderLock(str(tmp_path), "c", lambda: 0, lambda seen: False)
    try:
        assert leader.try_to_lead()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= stops
        leader.release()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) & stops == {signal.SIGTTIN}
        leader.release()  # of a lead that it has not, nothing
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) & stops == {signal.SIGTTIN}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- forks ----------------------------------------------------------------------------


def in_child(work: Callable[[], bool]) -> bool:
    """Tell what a forked child says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which this child does not need
        pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            os._exit(0 if work() else 1)
        os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


def test_a_forked_child_holds_nothing(tmp_path: Path) -> None:
    one, two = (FileLock(str(tmp_path / "lock")) for _ in range(2))
    assert one.try_to_hold()
    begin, go = os.pipe()
    up, began = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        os.close(go)
        os.write(began, b"!")
        os.read(begin, 1)
        os._exit(0)
    os.read(up, 1)
    one.release()
    try:
        assert two.try_to_hold()
        two.release()
    finally:
        for fd in (go, begin, up, began):
            os.close(fd)
        os.waitpid(pid, 0)


def test_a_fork_of_a_child_closes_nothing_of_its_parent(tmp_path: Path) -> None:
    lock = FileLock(str(tmp_path / "lock"))

    def fork_again() -> bool:
        # The child's files have the numbers of the locks that it gave up.
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
        return in_child(lambda: all(os.fstat(file) for file in files))

    with lock:
        assert lock.try_to_hold()
        assert in_child(fork_again)


# -- the processes that hold a lock ---------------------------------------------------

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
if sys.argv[2] == "posix":
    fcntl.lockf(file, fcntl.LOCK_EX)
else:
    fcntl.flock(file, fcntl.LOCK_SH if sys.argv[2] == "shared" else fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


class Holders:
    """Processes that hold locks."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, path: Path, how: str = "alone") -> tuple[int, str]:
        """Return a holder's pid, and its words as they are told."""
        words = [sys.executable, "-c", HOLD, str(path), how]
        self.started.append(subprocess.Popen(words, stdout=subprocess.PIPE))
        out = self.started[-1].stdout
        assert out is not None and out.readline() == b"held\n"
        text = " ".join(words).strip()[:100].replace("\n", "\\n")
        return self.started[-1].pid, text

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def holders() -> Iterator[Holders]:
    made = Holders()
    yield made
    made.close()


@pytest.mark.parametrize("how", ["alone", "shared", "posix"])
def test_the_holder_of_a_lock_is_named(
    tmp_path: Path, holders: Holders, how: str
) -> None:
    (tmp_path / "other").touch()
    pid, words = holders.start(tmp_path / "lock", how)
    holders.start(tmp_path / "other")
    told = describe_holders(str(tmp_path / "none"), str(tmp_path / "lock"))
    assert told == (
        f"process {pid} ({words}); nothing was done: if it is stopped, kill -CONT "
        f"{pid} lets it go on, and kill -KILL {pid} ends it"
    )


def test_holders_of_several_files_are_named_and_a_stopped_one_is(
    tmp_path: Path, holders: Holders
) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    pids = [holders.start(path)[0] for path in paths]
    os.kill(pids[1], signal.SIGSTOP)
    os.waitid(os.P_PID, pids[1], os.WSTOPPED | os.WNOWAIT)
    told = describe_holders(*map(str, paths))
    assert ", stopped); nothing was done" in told or ", stopped), process" in told
    assert told.count("process ") == 2 and told.count(", stopped)") == 1
    for pid in pids:
        assert f"process {pid} (" in told and told.count(str(pid)) == 3


def test_who_waits_for_a_lock_does_not_hold_it(
    tmp_path: Path, holders: Holders
) -> None:
    pid, _ = holders.start(tmp_path / "lock")
    words = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), "alone"]
    waiting = subprocess.Popen(words, stdout=subprocess.PIPE)
    holders.started.append(waiting)
    while not any(
        "->" in line and f" {waiting.pid} " in line
        for line in Path("/proc/locks").read_text().splitlines()
    ):
        assert waiting.poll() is None
    told = describe_holders(str(tmp_path / "lock"))
    assert f"process {pid} (" in told and str(waiting.pid) not in told


def test_a_lock_of_this_process_names_nobody(tmp_path: Path) -> None:
    with FileLock(str(tmp_path / "lock")) as lock:
        assert lock.try_to_hold()
        assert describe_holders(lock.path, "other") == (
            f"another process (lsof {lock.path} names it); nothing was done"
        )


# -- bells ----------------------------------------------------------------------------


def test_a_bell_is_alone_until_another_hangs_there(tmp_path: Path) -> None:
    with Bell(str(tmp_path), "c") as one, Bell(str(tmp_path), "c") as two:
        assert one.is_alone() and two.is_alone()
        assert one.be_reachable() and not one.be_reachable()
        assert one.is_alone() and not two.is_alone()
        assert two.be_reachable() and not one.is_alone()
        assert len(os.listdir(tmp_path / "w-c")) == 2
    assert os.listdir(tmp_path) == []
    assert one.be_reachable(), "it may be hung up again"
    one.__exit__()


def test_all_the_others_are_rung_and_a_full_queue_is_enough(tmp_path: Path) -> None:
    with Bell(str(tmp_path), "c") as one, Bell(str(tmp_path), "c") as two:
        with Bell(str(tmp_path), "c") as ringer:
            for bell in (one, two, ringer):
                bell.be_reachable()
            for _ in range(1000):  # a queue holds ten or so (net.unix.max_dgram_qlen)
                ringer.ring_others()
            assert [one.wait_for_ring(0), two.wait_for_ring(0)] == [True, True]
            assert [one.wait_for_ring(0), two.wait_for_ring(0)] == [False, False]
            assert not ringer.wait_for_ring(0)


def test_a_file_that_is_no_bell_keeps_nobody_from_being_rung(tmp_path: Path) -> None:
    with Bell(str(tmp_path), "c") as one, Bell(str(tmp_path), "c") as two:
        one.be_reachable()
        for name in ("000000000000", "ffffffffffff"):
            listener = socket.socket(socket.AF_UNIX)  # of another kind: EPROTOTYPE
            listener.bind(str(tmp_path / "w-c" / name))
            listener.close()
        two.ring_others()
        assert one.wait_for_ring(0)
        for name in ("000000000000", "ffffffffffff"):
            (tmp_path / "w-c" / name).unlink(missing_ok=True)


def test_a_wait_is_as_long_as_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Poll:
        def register(self, _bell: object, event: int) -> None:
            assert event == select.POLLIN

        def poll(self, milliseconds: float) -> list[object]:
            waits.append(milliseconds)
            return []

    with Bell(str(tmp_path), "c") as bell:
        monkeypatch.setattr(select, "poll", Poll)
        assert [bell.wait_for_ring(seconds) for seconds in (0.25, 0.0, -1.0)] == [
            False
        ] * 3
    assert waits == [250.0, 0.0, 0.0]


def test_a_folder_of_bells_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w-c").mkdir()
    (tmp_path / "w-c").chmod(0o777)
    with Bell(str(tmp_path), "c") as bell, pytest.raises(StoreError):
        bell.be_reachable()


def test_where_no_bell_was_none_is_taken_down(tmp_path: Path) -> None:
    bell = Bell(str(tmp_path), "c")
    bell.ring_others()
    bell.remove_dead()
    assert bell.is_alone() and os.listdir(tmp_path) == []
