"""Child processes: started clean, waited for without a thread, found by their log."""

from __future__ import annotations

import errno
import os
import time

from ..errors import (
    HostUnreachable,
    SshJobsError,
    StoreError,
    add_hint,
    find_hint,
)
from ..processes import has_proc, list_by_ps, read_start_time
from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import signal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


#: Enters the directory in $0 and becomes the command: posix_spawn(3) has no cwd.
_ENTER = 'cd "$0" && unset OLDPWD && exec "$@"'

_DEFAULTS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


#: This process, or this machine, has no more of something (EBADF: of descriptors).
_SCARCE = {errno.EMFILE, errno.ENFILE, errno.EBADF, errno.EAGAIN, errno.ENOMEM}


def spawn_program(
    argv: Sequence[str],
    env: Mapping[str, str],
    fds: tuple[int, int, int],
    *,
    cwd: str = "",
    session: bool = True,
) -> int:
    """Start a program that inherits nothing of ours but three descriptors.

    Its signals are at their defaults and none is blocked (a leader blocks SIGTSTP and
    its like, and a job must not inherit that). No fork handler of Python runs.

    Args:
        argv: The program by its absolute path, then its arguments.
        fds: Its stdin, stdout and stderr.
        cwd: Where it starts; ``""`` where we are.
        session: In a session of its own, so that no Ctrl-C at our terminal hits it.

    Raises:
        OSError: the program cannot be executed.
    """
    if cwd:
        argv = ("/bin/sh", "-c", _ENTER, cwd, *argv)
    actions: list[tuple[int, ...]] = [
        (os.POSIX_SPAWN_CLOSE, fd) for fd in _list_leaks(fds)
    ]
    # Through high numbers, so that a descriptor that is itself 0, 1 or 2 is not lost.
    spare = [fd + 1 + max(2, *fds) for fd in range(3)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in zip(fds, spare)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(spare)]
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in spare]
    return _posix_spawn(list(argv), dict(env), actions, session)


def _posix_spawn(
    argv: list[str], env: dict[str, str], actions: list[tuple[int, ...]], session: bool
) -> int:
    def start(setsid: bool) -> int:
        return os.posix_spawn(
            argv[0],
            argv,
            env,
            file_actions=actions,
            setsid=setsid,
            setsigmask=[],
            setsigdef=_DEFAULTS,
        )

    try:
        return start(session)
    except NotImplementedError:
        # No POSIX_SPAWN_SETSID (FreeBSD, old macOS): nohup's half of it is lost, a
        # Ctrl-C at our terminal reaches the child.
        return start(False)


def _list_leaks(keep: tuple[int, int, int]) -> list[int]:
    """Return our inheritable descriptors, such as a shell's ``9>lock``."""
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        return []
    leaks = []
    for fd in map(int, names):
        try:
            if fd > 2 and fd not in keep and os.get_inheritable(fd):
                leaks.append(fd)
        except OSError:  # the descriptor of listdir itself
            continue
    return leaks


def explain_start_failure(host: str, program: str, error: OSError) -> SshJobsError:
    """Return the error for a program that could not be started.

    Where this process or machine lacks something, no host is to blame.
    """
    text = f"{program}: {error.strerror}; nothing ran there"
    if error.errno in _SCARCE:
        return add_hint(StoreError(f"{host}: {text}"), find_hint("here:scarce"))
    return HostUnreachable(host, text)


class Child:
    """A process that we started.

    Attributes:
        pid: Its number; ours to use until :meth:`poll` has told its end.
        start: Its start time, see :func:`~sshjobs.processes.read_start_time`.
        status: As :func:`os.waitstatus_to_exitcode` says, ``None`` while it runs, and
            where nobody can know it: SIGCHLD is ignored in this process (a library's
            user may do that), or another thread has waited for it.
    """

    __slots__ = ("pid", "start", "status", "fd", "_group", "_ended")

    def __init__(
        self, pid: int, *, group: bool = True, start: str | None = None
    ) -> None:
        self.pid = pid
        self.start = (read_start_time(pid) or "") if start is None else start
        self.status: int | None = None
        self._ended = False
        self._group = group
        # Readable once the process has ended; there is none without Linux 5.3.
        try:
            self.fd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self.fd = -1

    def poll(self) -> bool:
        """Tell whether it has ended."""
        if not self._ended:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # it has ended, and its status went elsewhere
                self._ended = True
                return True
            if pid:
                self._ended = True
                self.status = os.waitstatus_to_exitcode(status)
        return self._ended

    def wait(self, seconds: float) -> bool:
        """Wait for its end, that long at most; tell whether it has ended."""
        if self.fd >= 0 and not self.poll():
            import select

            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            poll.poll(seconds * 1000)
            return self.poll()
        end = time.monotonic() + seconds
        while not self.poll() and time.monotonic() < end:
            time.sleep(0.01)
        return self.poll()

    def kill(self) -> None:
        """End it and, if it leads a group, all of the group; reap it."""
        if not self.poll():
            if self._group:
                try:
                    os.killpg(self.pid, signal.SIGKILL)
                except OSError:  # it has not reached setsid(2) yet: it alone, then
                    pass
            os.kill(self.pid, signal.SIGKILL)  # not reaped yet, so the number is its
            self.wait(5.0)
        self.close()

    def close(self) -> None:
        """Close our handle; the process lives on if it does."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def find_carriers(log: str, *, whole: bool = False) -> list[tuple[int, str]]:
    """Return (pid, start) of our own processes that were started with ``-E log``.

    This is how an ssh is found that nobody wrote down: its starter was killed between
    the start and the note. Both words count, so that no ``tail -f`` is taken for one.

    It looks twice: an ssh that has just logged in goes to the background, as a new
    process, and the old one may end between the listing and a look at it.

    Args:
        log: The path of a log, or its beginning.
        whole: It is all of the path.
    """
    if not has_proc():
        return _carriers_by_ps(log, whole)
    # Words of /proc/PID/cmdline end with a NUL each (proc_pid_cmdline(5)).
    mark = b"\0-E\0" + os.fsencode(log) + b"\0" * whole
    return _find_marked(mark) or _find_marked(mark)


def _find_marked(mark: bytes) -> list[tuple[int, str]]:
    found = []
    for name in os.listdir("/proc"):
        try:
            if not name.isdigit() or os.stat(f"/proc/{name}").st_uid != os.geteuid():
                continue
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read()
        except OSError:  # it has ended, or is not ours to see
            continue
        start = read_start_time(int(name)) if mark in words else None
        if start is not None and int(name) != os.getpid():
            found.append((int(name), start))
    return found


def _carriers_by_ps(log: str, whole: bool) -> list[tuple[int, str]]:
    found = []
    for line in list_by_ps("-U", str(os.geteuid()), "-o", "pid=", "-o", "args="):
        number, _, args = line.strip().partition(" ")
        if f" -E {log}{' ' * whole}" in args and int(number) != os.getpid():
            start = read_start_time(int(number))
            if start is not None:
                found.append((int(number), start))
    return found
