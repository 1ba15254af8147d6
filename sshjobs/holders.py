"""The processes that hold a lock, in words for a person; imported for an error only."""

from __future__ import annotations

import os

from .model import printable


def describe_holders(*paths: str) -> str:
    """Name the processes that hold locks on files, and the remedy.

    Source: proc_locks(5); a line has the kind, the mode, the pid and, last but two,
    device and inode. Elsewhere nobody is named.
    """
    inodes = {str(os.stat(path).st_ino) for path in paths if os.path.exists(path)}
    pids: dict[str, None] = {}
    for line in _read_text("/proc/locks").splitlines():
        fields = line.split()
        # "->" is a process that waits; -1 stands for a lock of an open file, which is
        # no single process's (proc_locks(5)).
        if "->" in fields or len(fields) < 8 or int(fields[4]) in (-1, os.getpid()):
            continue
        if fields[3] == "WRITE" or fields[1] == "FLOCK":
            if fields[5].rpartition(":")[2] in inodes:
                pids[fields[4]] = None
    if not pids:
        return (
            f"another process (lsof {' '.join(paths[:1])} names it); nothing was done"
        )
    holders = []
    for pid in pids:
        words = _read_text(f"/proc/{pid}/cmdline").replace("\0", " ").strip()[:100]
        text = printable(words) or "of another user"
        state = _read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
        text += ", stopped" if state in (["T"], ["t"]) else ""
        holders.append(f"process {pid} ({text})")
    named, some = ", ".join(holders), " ".join(pids)
    return (
        f"{named}; nothing was done: if it is stopped, kill -CONT {some} lets it go "
        f"on, and kill -KILL {some} ends it"
    )


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # no /proc, or it has ended
        return ""
