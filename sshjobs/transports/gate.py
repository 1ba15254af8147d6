"""The gate: who may make a handshake, of all processes of one user on one machine.

Theory of operation: an exclusive flock(2) on ``gate.<key>.<n>``, where ``n`` is the
highest generation that has a file. The kernel drops the lock of a process that
dies. It keeps that of a process that is stopped, so the holder shows a beat, the
file's modification time, and its file says which ssh it is starting. Once the beat
is older than :data:`locks.STALE`, whoever waits makes the file of the next generation,
looks at the old beat once more, and is the holder; the old one's ssh is killed by
its pid and start time. A holder that wakes up finds that the highest generation is
not its own.

Why looking once more suffices: a taker stamps its file and then lists the folder, a
usurper makes its file and then looks at the stamp. One of them sees the other.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from .. import locks, processes
from ..errors import of_system
from ..owned import open_owned
from .base import CallerHooks

#: Handshakes side by side through one jump host: below the 10 unauthenticated
#: connections at which sshd begins to drop (MaxStartups 10:30:100).
HOP_SLOTS = 4


class GateLost(Exception):
    """We were stopped for so long that another process has taken the gate."""


@contextmanager
def seam(path: str) -> Iterator[None]:
    """Turn what the system says about our own files into a StoreError."""
    try:
        yield
    except OSError as error:
        raise of_system(path, error) from error


class Gate:
    """The gate of one connection, held or wanted.

    Args:
        folder: Where the lock files are; exists, and is ours.
        key: The identity of the connection.

    Attributes:
        number: The generation that it holds.
    """

    def __init__(self, folder: str, key: str) -> None:
        self._folder = folder
        self._prefix = f"gate.{key}."
        self._fd = -1
        self.number = 0

    def __repr__(self) -> str:
        return f"<Gate {self._prefix}{self.number}>"

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, f"{self._prefix}{number}")

    def _numbers(self) -> list[int]:
        """Return the generations that have a file, highest first."""
        with seam(self._folder):
            names = os.listdir(self._folder)
        ends = [n[len(self._prefix) :] for n in names if n.startswith(self._prefix)]
        return sorted((int(end) for end in ends if end.isdigit()), reverse=True)

    def take(self) -> bool:
        """Try to hold the gate, without waiting; tell whether it succeeded."""
        number = max(self._numbers(), default=0)
        taken = self._lock(number) or (self._is_stale(number) and self._usurp(number))
        if taken:
            self._tidy()
        return taken

    def _lock(self, number: int, *, new: bool = False) -> bool:
        """Take the lock of a generation; only the first one and a new one are made."""
        fd = _flock(self._path(number), create=new or not number)
        if fd < 0:
            return False
        self._fd, self.number = fd, number
        self.stamp(0, "")
        if self.mine():
            return True
        self.release()
        return False

    def _usurp(self, number: int) -> bool:
        if not self._lock(number + 1, new=True):
            return False
        if self._is_stale(number):
            return True
        os.unlink(self._path(number + 1))  # the old one woke up, or was taken over
        self.release()
        return False

    def _tidy(self) -> None:
        """End what older holders have started, and drop their files.

        Only a stale one is left there by :meth:`_usurp`; a file whose holder is alive
        and well stays, and so does its ssh.
        """
        for number in self._numbers():
            if number < self.number and self._is_stale(number):
                pid, start = _read_stamp(self._path(number))
                processes.end_process(pid, start)
                unlink(self._path(number))

    def _is_stale(self, number: int) -> bool:
        return _is_stale(self._path(number))

    def mine(self) -> bool:
        """Tell whether this process still holds the gate."""
        same = _same_file(self._fd, self._path(self.number))
        return same and self._numbers()[:1] == [self.number]

    def stamp(self, pid: int, start: str) -> None:
        """Write down which ssh is being started, for who may have to end it."""
        text = json.dumps([os.getpid(), pid, start]).encode("ascii")
        with seam(self._path(self.number)):
            os.pwrite(self._fd, text.ljust(120), 0)

    def beat(self) -> None:
        """Show that this process is not stopped.

        Raises:
            GateLost: it was, and another has taken over.
        """
        with seam(self._path(self.number)):
            os.utime(self._fd)
        if not self.mine():
            raise GateLost

    def clear(self) -> None:
        """Leave no file behind; who has it open finds that it does not count.

        Who has seen a generation that is gone by now looks again: see :meth:`_lock`.
        """
        if self.mine():
            for number in reversed(self._numbers()):
                unlink(self._path(number))

    def release(self) -> None:
        """Let the next one in."""
        if self._fd >= 0:
            locks.drop(self._fd)
            self._fd = -1


def _flock(path: str, *, create: bool = True) -> int:
    """Return a descriptor of ``path`` that holds its lock, or -1 if there is none."""
    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    with seam(path):
        try:
            fd = open_owned(path, flags)
        except FileNotFoundError:
            if create:
                raise
            return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    locks.hold(fd)
    return fd


def _is_stale(path: str) -> bool:
    """Tell whether a lock that somebody holds has not been beaten for too long."""
    try:
        age = time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return False
    return abs(age) > locks.STALE  # a clock set back must not lend it a long life


def _read_stamp(path: str) -> tuple[int, str]:
    try:
        with open(path, encoding="ascii") as file:
            _, pid, start = json.loads(file.read())
    except (FileNotFoundError, ValueError):  # taken, and killed before it was stamped
        return 0, ""
    return int(pid), str(start)


def unlink(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def pause(on_wait: Callable[[], None]) -> None:
    """Wait a little for a lock; unevenly, so that a crowd does not march in step."""
    on_wait()
    time.sleep(0.02 + os.urandom(1)[0] / 4096)


def _any_of(paths: Iterable[str]) -> int:
    """Return a descriptor that holds the lock of one of ``paths``, or -1."""
    for path in paths:
        fd = _flock(path)
        if fd >= 0 and _same_file(fd, path):
            os.utime(fd)
            return fd
        _drop(fd)
    return -1


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _drop(fd: int) -> None:
    """Give up a lock, if ``fd`` is one."""
    if fd >= 0:
        locks.drop(fd)


class _Place:
    """One of the few places for a handshake through a jump host.

    A holder that is stopped does not beat, and loses its place by that, so that no
    number of them bars the way.
    """

    def __init__(self, paths: list[str], on_wait: Callable[[], None]) -> None:
        self._paths = paths
        while (fd := _any_of(self._paths)) < 0 and not any(map(_is_stale, self._paths)):
            pause(on_wait)
        self._fd = fd

    def beat(self) -> None:
        """Show that this process is not stopped."""
        if self._fd >= 0:
            os.utime(self._fd)

    def leave(self) -> None:
        """Let another in, and leave no file behind."""
        fd, self._fd = self._fd, -1
        for path in self._paths if fd >= 0 else ():
            if _same_file(fd, path):
                unlink(path)
        _drop(fd)


def _places(folder: str, first_hop: str) -> list[str]:
    import hashlib

    name = hashlib.sha256(os.fsencode(first_hop)).hexdigest()[:16]
    return [os.path.join(folder, f"hop.{name}.{slot}") for slot in range(HOP_SLOTS)]


def clear_hop(folder: str, first_hop: str) -> None:
    """Remove what the dead have left of the places at a jump host."""
    for path in _places(folder, first_hop) if first_hop else ():
        fd = _flock(path, create=False)
        if fd >= 0 and _same_file(fd, path):
            unlink(path)
        _drop(fd)


def _never() -> bool:
    return False


@contextmanager
def hop(
    hooks: CallerHooks, first_hop: str, passed: Callable[[], bool] = _never
) -> Iterator[CallerHooks]:
    """Hold one of the few places for a handshake through a jump host, if one is used.

    The hooks that come with it beats the place at each tick, and gives it up once
    ``passed()``: the jump host has let us in, and what is silent behind it is no
    reason to keep others waiting.
    """
    if not first_hop:
        yield hooks
        return
    place = _Place(_places(hooks.rundir, first_hop), hooks.on_wait)

    def on_wait() -> None:
        place.beat()
        if passed():
            place.leave()
        hooks.on_wait()

    try:
        yield hooks._replace(on_wait=on_wait)
    finally:
        place.leave()


@contextmanager
def passage(hooks: CallerHooks, key: str) -> Iterator[tuple[Gate, CallerHooks] | None]:
    """Try to hold the gate; the hooks that come with it beats it at each tick."""
    gate = Gate(hooks.rundir, key)

    def on_wait() -> None:
        gate.beat()
        hooks.on_wait()

    try:
        yield (gate, hooks._replace(on_wait=on_wait)) if gate.take() else None
    finally:
        gate.release()
