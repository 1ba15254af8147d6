"""Hands a connection's secret to ``sshjobs`` without writing it anywhere.

A secret that Airflow knows must reach the process that logs in: not as an argument, nor
in an environment, which lives as long as its process, nor on the disk. So it is put
into a file of memory (memfd_create(2)) of this process, and ``sshjobs`` is told a
command that prints it, ``cat /proc/PID/fd/N``, for the one moment of a login. The
kernel lets only processes of this user look there, and it is gone with this process.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
from contextlib import suppress

#: The command for each secret; one that is asked for again has the same.
_COMMANDS: dict[str, str] = {}
_LOCK = threading.Lock()


def build_secret_command(text: str) -> str:
    """Return the shell line that prints a secret, as long as this process lives."""
    with _LOCK:
        if text not in _COMMANDS:
            _COMMANDS[text] = f"cat {_write_secret(text)}"
        return _COMMANDS[text]


def _write_secret(text: str) -> str:
    """Write a file in memory, or else on disk (0600); it goes with this process."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor = os.memfd_create("sshjobs", os.MFD_CLOEXEC)
        os.write(descriptor, f"{text}\n".encode("utf-8", "surrogateescape"))
        return f"/proc/{os.getpid()}/fd/{descriptor}"
    descriptor, path = tempfile.mkstemp(prefix="sshjobs-")

    def remove() -> None:
        with suppress(OSError):
            os.unlink(path)

    atexit.register(remove)
    with os.fdopen(descriptor, "w", errors="surrogateescape") as file:
        file.write(f"{text}\n")
    return path
