"""Room that is kept for the verbs that end jobs and ask about them on a full disk.

A job, or anybody else, may fill the disk that the record lies on; what is wanted of a
host is written into the record first, and a kill must still go out then. So a file of
some blocks lies beside the record, made while there is room, and is given up by the
verbs that need little and matter most. It comes back once there is room again.
"""

from __future__ import annotations

import os

from .owned import open_owned

#: A kill writes some forty pages of 4 KiB; a hundred jobs at once twice as many.
RESERVE_BYTES = 512 * 1024

#: It is made where so many times as much is free.
_PLENTY = 16


def free_bytes(folder: str) -> int:
    """Return how many bytes an ordinary user may still write there."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def reserve_path(home: str) -> str:
    """Return where the file is."""
    return os.path.join(home, "reserve")


def keep_reserve(home: str) -> None:
    """Make the file, if there is room in plenty; else the next process does.

    Raises:
        StoreError: something lies there that is not ours.
    """
    if free_bytes(home) < _PLENTY * RESERVE_BYTES:
        return
    path = reserve_path(home)
    try:
        fd = open_owned(path, os.O_WRONLY | os.O_CREAT)
    except OSError:  # no inode: it is a convenience
        return
    try:
        written = 0
        while written < RESERVE_BYTES:  # bytes, since not each system has fallocate
            written += os.write(fd, bytes(65536))
    except OSError:  # a quota: half of it is no help
        os.unlink(path)
    finally:
        os.close(fd)


def give_up_reserve(home: str) -> bool:
    """Make room, if there is hardly any; tell whether it was done."""
    try:
        if free_bytes(home) >= RESERVE_BYTES:
            return False
        os.unlink(reserve_path(home))
    except OSError:  # it is given up already, or was never made
        return False
    return True
