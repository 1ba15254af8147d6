"""The leader's lock, and the bell that wakes who waits for a round.

Theory of operation: who holds an exclusive flock(2) on ``round.<conn>.<n>`` leads
the rounds of that connection, where ``n`` is the generation that the store names.
The kernel drops the lock of a process that dies. It does not drop that of one
that is *stopped*, so the holder shows a beat, the file's modification time; once
the beat is older than :data:`STALE`, a follower moves the store on to the next
generation and locks that. A stopped leader that wakes up finds that the
generation is no longer its own, and its reply is not applied.

Followers do not poll the store: each binds a datagram socket in a directory of
the connection, and whoever applied a round sends a byte to each socket there. A
bell is a hint. Followers look again now and then without one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from .errors import StoreError, of_system
from .model import printable
from .owned import check_dir, make_private, open_owned
from .startup.stdlib import signal, socket

#: Seconds without a beat after which a leader counts as stopped.
STALE = 15.0
_BEAT = 2.0

#: Seconds that a short lock may be busy before that is an error: who holds one works
#: for milliseconds, unless it is stopped (SIGSTOP), and then it would be for ever.
BOUND = 20.0

#: What a terminal's job control would stop a leader with, in the middle of it all.
_STOPS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}

#: Descriptors of every lock of this process, the gates' among them.
_held: set[int] = set()


def _drop_after_fork() -> None:
    """Give up every lock in a forked child; a flock belongs to both otherwise."""
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_drop_after_fork)


def hold(fd: int) -> None:
    """Let a lock of this process not span a fork."""
    _held.add(fd)


def drop(fd: int) -> None:
    """Give up a lock that is held."""
    _held.discard(fd)
    os.close(fd)


def take(fd: int, path: str, how: int) -> None:
    """Take a lock by flock(2), and wait for :data:`BOUND` at most.

    Raises:
        StoreError: it is busy still; the message names who holds it.
        BlockingIOError: it is busy, and ``how`` says not to wait (``LOCK_NB``).
    """
    end = time.monotonic() + BOUND
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if how & fcntl.LOCK_NB:
                raise
            if time.monotonic() >= end:
                who = holders(path)
                text = (
                    f"{path}: another process has held the lock for {BOUND:g} s: {who}"
                )
                raise StoreError(text) from error
        time.sleep(0.02)


def holders(*paths: str) -> str:
    """Say who holds locks on files, and what to do about it.

    Source: proc_locks(5); a line has the kind, the mode, the pid and, last but two,
    device and inode. Elsewhere nobody is named.
    """
    inodes = {str(os.stat(path).st_ino) for path in paths if os.path.exists(path)}
    pids: dict[str, None] = {}
    for line in _read("/proc/locks").splitlines():
        words = line.split()
        if "->" in words or len(words) < 8 or int(words[4]) in (-1, os.getpid()):
            continue
        if words[3] == "WRITE" or words[1] == "FLOCK":
            if words[5].rpartition(":")[2] in inodes:
                pids[words[4]] = None
    if not pids:
        return (
            f"another process (lsof {' '.join(paths[:1])} names it); nothing was done"
        )
    who = ", ".join(f"process {pid} ({_described(pid)})" for pid in pids)
    some = " ".join(pids)
    return (
        f"{who}; nothing was done: if it is stopped, kill -CONT {some} lets it go on, "
        f"and kill -KILL {some} ends it"
    )


def _described(pid: str) -> str:
    """Return the words of a process and whether it is stopped."""
    words = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()[:100]
    state = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
    text = printable(words) or "of another user"
    return f"{text}, stopped" if state in (["T"], ["t"]) else text


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # no /proc, or it has ended
        return ""


class Lead:
    """The lock of one connection's rounds.

    Args:
        folder: Where the lock files are; exists, and is ours.
        conn: The identity of the connection.
        current: Asks the store for the generation in force.
        advance: Moves the store from a generation to the next, and tells whether
            it was this call that did.
    """

    def __init__(
        self,
        folder: str,
        site_id: str,
        current: Callable[[], int],
        advance: Callable[[int], bool],
    ) -> None:
        self._base = os.path.join(folder, f"round.{site_id}")
        self._current = current
        self._advance = advance
        self._fd = -1
        self._beat_at = 0.0
        self._mask: set[int] = set()
        self.generation = -1

    def __repr__(self) -> str:
        return f"<Lead {self._base}.{self.generation}>"

    @property
    def held(self) -> bool:
        """Tell whether this process leads."""
        return self._fd >= 0

    def acquire(self) -> bool:
        """Try to lead, without waiting; tell whether it succeeded."""
        generation = self._current()
        if self._try(generation):
            return True
        if self._stopped(generation) and self._advance(generation):
            _unlink(f"{self._base}.{generation}")
            return self._try(generation + 1)
        return False

    def _try(self, generation: int) -> bool:
        path = f"{self._base}.{generation}"
        with _seam(path):
            fd = open_owned(path, os.O_RDWR | os.O_CREAT)
            try:
                won = _flock(fd) and self._in_force(fd, path, generation)
            except BaseException:
                os.close(fd)
                raise
        if not won:
            os.close(fd)
            return False
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        self._fd, self.generation = fd, generation
        self._beat_at = time.monotonic()
        hold(fd)
        return True

    def _in_force(self, fd: int, path: str, generation: int) -> bool:
        """Tell whether the lock that was just taken is the one that counts.

        It is stamped first: the last beat of who led before may be old, and whoever
        looks at it meanwhile would take us for stopped.
        """
        _stamp(fd)
        return self._current() == generation and _same_file(fd, path)

    def beat(self) -> None:
        """Show that this process is not stopped; cheap enough for any loop."""
        now = time.monotonic()
        if self._fd >= 0 and now - self._beat_at >= _BEAT:
            os.utime(self._fd)
            self._beat_at = now

    def _stopped(self, generation: int) -> bool:
        try:
            age = time.time() - os.stat(f"{self._base}.{generation}").st_mtime
        except FileNotFoundError:
            return False
        return abs(age) > STALE

    def clear(self) -> None:
        """Leave no file behind, unless somebody leads."""
        if self.acquire():
            _unlink(f"{self._base}.{self.generation}")
            self.release()

    def release(self) -> None:
        """Stop leading."""
        if self._fd >= 0:
            drop(self._fd)
            self._fd = -1
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


@contextmanager
def _seam(path: str) -> Iterator[None]:
    """Turn what the system says about our own files into a StoreError."""
    try:
        yield
    except OSError as error:
        raise of_system(path, error) from error


def _flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stamp(fd: int) -> None:
    """Say who leads, and beat; never shrink the file, so that a full disk suffices."""
    os.pwrite(fd, f"{os.getpid():<15}\n".encode("ascii"), 0)


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _rmdir(path: str) -> None:
    """Remove a directory unless something is in it, or another was quicker."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise of_system(path, error) from error


class Bell:
    """A place where one waiting thread can be woken by other processes.

    Args:
        rundir: The short directory of sockets; exists, and is ours.
        conn: The identity of the connection that is waited for.
    """

    def __init__(self, rundir: str, site_id: str) -> None:
        self._folder = os.path.join(rundir, f"w-{site_id}")
        self._socket: socket.socket | None = None
        self._path = ""

    def __enter__(self) -> Bell:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()
            _unlink(self._path)
            self._socket = None
            _rmdir(self._folder)

    def hang(self) -> None:
        """Be reachable from now on."""
        if self._socket is not None:
            return
        self._path = os.path.join(self._folder, os.urandom(6).hex())
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        with _seam(self._folder):
            while not self._bind(self._socket):
                continue

    def _bind(self, bell: socket.socket) -> bool:
        """Take a place in the directory; False if that was taken away meanwhile."""
        try:
            if not make_private(self._folder):
                check_dir(self._folder)
            bell.bind(self._path)
        except FileNotFoundError:  # the last one that hung there has just gone
            return False
        return True

    def clear(self) -> None:
        """Take down what the dead have left, and the directory if nobody is there."""
        self.ring()
        _rmdir(self._folder)

    def wait(self, timeout: float) -> bool:
        """Sleep until somebody rings or seconds have passed; tell which."""
        self.hang()
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        rung = bool(poll.poll(max(0.0, timeout) * 1000))
        while rung:
            try:
                self._socket.recv(16)
            except BlockingIOError:
                break
        return rung

    def is_alone(self) -> bool:
        """Tell whether nobody else waits for this connection."""
        return not self._others()

    def ring(self) -> None:
        """Wake everyone else who waits for this connection."""
        names = self._others()
        if not names:
            return
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
            sender.setblocking(False)
            for name in names:
                self._ring_one(sender, os.path.join(self._folder, name))

    def _others(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [name for name in names if name != os.path.basename(self._path)]

    def _ring_one(self, sender: socket.socket, path: str) -> None:
        try:
            sender.sendto(b"!", path)
        except ConnectionRefusedError:  # its process is gone
            _unlink(path)
        except OSError:  # a full queue holds a byte already; a missing one is gone
            return
