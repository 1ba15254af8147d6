"""Start times of processes, and whether one is still that very process.

A pid alone is never believed and never signalled: the kernel gives the number to
another process later. With its start time the number names one process for good. Every
record of a process on this machine (intents, gates, masters) has both, and this module
is the only one that reads and compares them.
"""

from __future__ import annotations

import os
import time

from .startup.stdlib import signal

#: The id of this boot, once it was read.
_boot_id: list[str] = []


def read_start_time(pid: int) -> str | None:
    """Return when a process started, as this system writes it; None if it is gone.

    On Linux that is field 22 of proc_pid_stat(5), clock ticks since the boot, with the
    boot's id before it. A zombie counts as gone.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read(4096).rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if has_proc() else _read_start_by_ps(pid)
    if fields[0] in (b"Z", b"X"):
        return None
    if not _boot_id:
        try:
            with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
                _boot_id.append(file.read(8).decode("ascii"))
        except OSError:  # a /proc that shows processes only (subset=pid)
            _boot_id.append("")
    return f"{_boot_id[0]}.{int(fields[19])}"


def is_that_process(pid: int, start: str) -> bool:
    """Tell whether the process of a record is still there.

    Args:
        start: Its start time. Where the record has none, since the system did not tell
            it, the number alone counts.
    """
    if pid == os.getpid():
        return True
    if not start:
        return not has_proc() and _has_number(pid)
    found = read_start_time(pid)
    # Stores before version 3 have the clock ticks alone.
    return found is not None and start in (found, found.rpartition(".")[2])


def kill_process(pid: int, start: str, number: int = signal.SIGKILL) -> bool:
    """Send a signal to that very process; tell whether it was still there."""
    if pid <= 1 or not start or read_start_time(pid) != start:
        return False
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def end_process(pid: int, start: str, seconds: float = 2.0) -> bool:
    """Kill that very process and wait until it is gone; tell whether it was there."""
    found = kill_process(pid, start)
    deadline = time.monotonic() + seconds
    while found and read_start_time(pid) == start and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


def open_process(pid: int) -> int:
    """Return a descriptor that poll(2) finds readable once a process has ended.

    -1 where the system has no such thing (pidfd_open(2): Linux 5.3), or no more.

    Raises:
        ProcessLookupError: there is no such process.
    """
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (OSError, OverflowError):
        return -1


def has_proc() -> bool:
    """Tell whether this system shows processes in /proc (Linux does)."""
    return os.path.exists("/proc/self/stat")


def list_by_ps(*args: str) -> list[str]:
    """Return the lines of ps(1), where there is no /proc (macOS, BSD)."""
    read, write = os.pipe()
    # Standard output first: the pipe may itself have the number 0 or 2.
    actions = [
        (os.POSIX_SPAWN_DUP2, write, 1),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    argv, env = ["/bin/ps", *args], {"LC_ALL": "C"}
    try:
        child = os.posix_spawn(argv[0], argv, env, file_actions=actions, setsigmask=[])
    except OSError:  # there is none
        os.close(read)
        return []
    finally:
        os.close(write)
    with open(read, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    try:
        os.waitpid(child, 0)
    except ChildProcessError:  # SIGCHLD is ignored in this process
        return lines
    return lines


def _read_start_by_ps(pid: int) -> str | None:
    lines = list_by_ps("-o", "stat=", "-o", "lstart=", "-p", str(pid))
    if not lines and not list_by_ps("-o", "pid=", "-p", str(os.getpid())):
        # A ps that does not show ourselves shows nobody (Linux without /proc).
        return "" if _has_number(pid) else None
    if not lines or lines[0].startswith("Z"):
        return None
    return " ".join(lines[0].split()[1:])


def _has_number(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
