"""Locks on files, the leader's lock, and the bell that wakes the waiters of a round.

Theory of operation: every lock of ours is an exclusive or shared flock(2) on a file of
its own, and :class:`FileLock` is the one that takes it. The kernel drops the lock of a
process that dies. The kernel does not drop that of a process that is *stopped*, so a
long holder shows a beat, the file's modification time, and counts as stopped once the
beat is older than :data:`STALE`; a short holder is waited for :data:`BOUND` at most.

Whoever holds ``round.<site>.<n>`` leads the rounds of that site, where ``n`` is the
generation that the store names. Once the leader's beat is stale, a follower moves the
store on to the next generation and locks that. A stopped leader that wakes up finds
that the generation is no longer its own, and its reply is not applied.

Followers do not poll the store: each binds a datagram socket in a directory of the
site, and the process that applied a round sends a byte to each socket there. A bell is
a hint. Followers look again now and then without one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time

from .errors import StoreError, of_system
from .owned import check_dir, make_private, open_owned
from .startup.contexts import closing, contextmanager
from .startup.records import TYPE_CHECKING
from .startup.stdlib import signal, socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: Seconds without a beat after which the holder of a lock counts as stopped.
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
    # flock(2): the lock is of the open file description, which fork(2) shares. A child
    # that keeps its copy would hold the lock after its parent has died.
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_drop_after_fork)


def keep_from_children(fd: int, *, keep: bool = True) -> None:
    """Have a descriptor closed in children that are forked, until it is closed here."""
    (_held.add if keep else _held.discard)(fd)


class FileLock:
    """A flock(2) on a file of ours, held or wanted.

    A forked child does not hold it. The file is opened only if it is ours.

    Args:
        path: The file; made when the lock is taken, unless ``create`` says otherwise.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.holder = 0  # the pid that its holder has written, if it was busy
        self._fd = -1

    def __repr__(self) -> str:
        return f"<FileLock {self.path}{' held' * self.is_held}>"

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def is_held(self) -> bool:
        """Tell whether this process holds it; see :meth:`names_its_file`."""
        return self._fd >= 0

    def try_to_hold(self, *, create: bool = True, shared: bool = False) -> bool:
        """Try to hold it, without waiting; tell whether that succeeded.

        It has shown a beat then, and its path names the file that is locked.

        Raises:
            StoreError: the file is not ours, or the system refuses it.
        """
        with translate_os_errors(self.path):
            try:
                fd = open_owned(self.path, os.O_RDWR | (os.O_CREAT if create else 0))
            except FileNotFoundError:
                if create:
                    raise
                return False
            try:
                kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                # Never a flock that blocks: it has no timeout, and a holder that is
                # stopped would keep us for ever.
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
                # The last beat may be an old one of the holder before: whoever looks
                # at it from now on would take us for stopped.
                os.utime(fd)
            except BlockingIOError:
                self.holder = close_and_read(fd)
                return False
            except BaseException:
                os.close(fd)
                raise
        self._fd = fd
        _held.add(fd)
        # The holder before may have removed the file between our open and our flock:
        # the next process makes another file of that name, and locks that.
        if self.names_its_file():
            return True
        self.release()
        return False

    def hold(self, *, shared: bool = False) -> None:
        """Wait for it, for :data:`BOUND` at most.

        Raises:
            StoreError: it is busy still; the message names the process that holds it.
        """
        end = time.monotonic() + BOUND
        while not self.try_to_hold(shared=shared):
            if time.monotonic() >= end:
                from .holders import describe_holders

                raise StoreError(
                    f"{self.path}: another process has held the lock for {BOUND:g} s: "
                    f"{describe_holders(self.path)}"
                )
            time.sleep(0.02)

    def names_its_file(self) -> bool:
        """Tell whether its path names the file that is locked, not a newer one."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except FileNotFoundError:
            return False

    def write_stamp(self, text: bytes) -> None:
        """Write the holder into the file, and show a beat.

        The file is never cut shorter, so that a full disk suffices: a text that may
        grow shorter is to be padded.
        """
        # Over the old one in place: a rename would make another file, on which nobody
        # has the lock.
        with translate_os_errors(self.path):
            os.pwrite(self._fd, text, 0)

    def show_beat(self) -> None:
        """Show that this process is not stopped."""
        with translate_os_errors(self.path):
            os.utime(self._fd)

    def has_stale_beat(self) -> bool:
        """Tell whether the holder, if there is one, counts as stopped."""
        try:
            age = time.time() - os.stat(self.path).st_mtime
        except FileNotFoundError:
            return False
        return abs(age) > STALE  # a clock that was set back must not lend a long life

    def remove_file(self) -> None:
        """Remove the file, if it is the one that is locked, and let go of the lock."""
        if self.is_held and self.names_its_file():
            unlink_if_there(self.path)
        self.release()

    def release(self) -> None:
        """Let go of it, if it is held; the file stays."""
        if self._fd >= 0:
            _held.discard(self._fd)
            os.close(self._fd)
            self._fd = -1


def close_and_read(fd: int) -> int:
    """Close the file of a lock; return the pid in it, 0 if there is none."""
    try:
        stamp = os.pread(fd, 16, 0).strip()
    finally:
        os.close(fd)
    return int(stamp) if stamp.isdigit() else 0


class LeaderLock:
    """The lock of one site's rounds.

    Args:
        folder: Where the lock files are; exists, and is ours.
        site_id: The site whose rounds they are.
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
        self._lock = FileLock("")
        self._beat_at = 0.0
        self._mask: set[int] = set()
        self.generation = -1
        self.leader = 0  # the pid of the process that led at the last try, if told

    def __repr__(self) -> str:
        return f"<LeaderLock {self._base}.{self.generation}>"

    @property
    def is_held(self) -> bool:
        """Tell whether this process leads."""
        return self._lock.is_held

    def try_to_lead(self) -> bool:
        """Try to lead, without waiting; tell whether it succeeded."""
        generation = self._current()
        lock = self._lock_of(generation)
        if self._try_to_hold(lock, generation):
            return True
        # Several followers may find the beat stale: the store moves on for one of them,
        # in a transaction, and the others look again.
        if lock.has_stale_beat() and self._advance(generation):
            unlink_if_there(lock.path)
            return self._try_to_hold(self._lock_of(generation + 1), generation + 1)
        return False

    def _lock_of(self, generation: int) -> FileLock:
        return FileLock(f"{self._base}.{generation}")

    def _try_to_hold(self, lock: FileLock, generation: int) -> bool:
        if not lock.try_to_hold():
            self.leader = lock.holder
            return False
        try:
            lock.write_stamp(f"{os.getpid():<15}\n".encode("ascii"))
            # A follower advances the store before it removes the older file, so that
            # a lock that is taken in between is one of a generation gone by.
            in_force = self._current() == generation
        except BaseException:
            lock.release()
            raise
        if not in_force:
            lock.release()
            return False
        # SIGSTOP cannot be blocked (signal(7)); a leader that it stops loses its lead
        # by the beat.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        self._lock, self.generation = lock, generation
        self._beat_at = time.monotonic()
        return True

    def show_beat(self) -> None:
        """Show that this process is not stopped; cheap enough for any loop."""
        now = time.monotonic()
        if self.is_held and now - self._beat_at >= _BEAT:
            self._lock.show_beat()
            self._beat_at = now

    def remove_file(self) -> None:
        """Leave no file behind, unless somebody leads."""
        if self.try_to_lead():
            unlink_if_there(self._lock.path)
            self.release()

    def release(self) -> None:
        """Stop leading."""
        if self.is_held:
            self._lock.release()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


class Bell:
    """A place where one waiting thread can be woken by other processes.

    Args:
        rundir: The short directory of sockets; exists, and is ours.
        site_id: The site that is waited for.
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
            unlink_if_there(self._path)
            self._socket = None
            _remove_empty(self._folder)

    def be_reachable(self) -> bool:
        """Be reachable from now on; tell whether it was not until now."""
        if self._socket is not None:
            return False
        self._path = os.path.join(self._folder, os.urandom(6).hex())
        # A datagram wants no accept: a ring is a byte in the queue (unix(7)), and stays
        # there while we look at the store.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        with translate_os_errors(self._folder):
            while not self._bind_socket(self._socket):
                continue
        return True

    def _bind_socket(self, bell: socket.socket) -> bool:
        """Take a place in the directory; False if that was taken away meanwhile."""
        try:
            if not make_private(self._folder):
                check_dir(self._folder)
            bell.bind(self._path)
        except FileNotFoundError:  # the last one that hung there has just gone
            return False
        return True

    def remove_dead(self) -> None:
        """Take down the bells of the dead, and the directory if nobody is there."""
        self.ring_others()
        _remove_empty(self._folder)

    def wait_for_ring(self, timeout: float) -> bool:
        """Sleep until somebody rings or seconds have passed; tell which."""
        return self.wait_for_news(timeout, -1)[0]

    def wait_for_news(
        self, timeout: float, process: int, knock: int = -1
    ) -> tuple[bool, bool]:
        """Sleep until somebody rings, a process has ended, or seconds have passed.

        Args:
            process: Of :func:`.processes.open_process`.
            knock: Another descriptor that wakes when it is readable.

        Returns:
            Whether somebody rang, and whether the process has ended.
        """
        self.be_reachable()
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        for fd in (process, knock):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(max(0.0, timeout) * 1000)]
        rung = self._socket.fileno() in ready
        # Many may have rung: all of it is one ring.
        while rung:
            try:
                self._socket.recv(16)
            except BlockingIOError:
                break
        return rung, process in ready

    def is_alone(self) -> bool:
        """Tell whether nobody else waits for this site."""
        return not self._list_others()

    def ring_others(self) -> None:
        """Wake all others that wait for this site."""
        names = self._list_others()
        if not names:
            return
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
            sender.setblocking(False)
            for name in names:
                path = os.path.join(self._folder, name)
                try:
                    sender.sendto(b"!", path)
                except ConnectionRefusedError:  # its process is gone
                    unlink_if_there(path)
                except OSError:  # a full queue holds a byte already; or it is missing
                    continue

    def _list_others(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [name for name in names if name != os.path.basename(self._path)]


@contextmanager
def translate_os_errors(path: str) -> Iterator[None]:
    """Turn an error of the system about our own files into a StoreError."""
    try:
        yield
    except OSError as error:
        raise of_system(path, error) from error


def unlink_if_there(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _remove_empty(path: str) -> None:
    """Remove a directory unless something is in it, or another was quicker."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise of_system(path, error) from error
