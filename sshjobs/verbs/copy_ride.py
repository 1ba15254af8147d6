"""The ssh that rsync and sftp start: one session on the connection that all share.

Theory of operation: rsync and sftp want a program in the place of ssh, and build its
words as for any host. This one knows from a file which host is meant, with which
settings, and where files go: of their words it takes the tool's own options alone. So
no name of a file or a host is read by two programs with rules of their own. An error
goes back in a file, too, since rsync makes one status of all failures of its ssh.
"""

from __future__ import annotations

import json
import os
import sys

from ..errors import SshJobsError, dump
from ..startup.records import Record
from .context import Context
from .ride import ride_along

#: The names of the two files.
WISH, ERROR = "wish", "error"

#: What no shell that somebody logs in with reads as more than itself.
_PLAIN = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
)


class RideWish(Record):
    """How the session of a copy is made.

    ``place`` is where rsync puts files on the host, "" if it takes some from there.
    """

    host: str
    flags: dict[str, object]
    tool: str
    place: str = ""


def escape_for_login_shell(path: bytes) -> bytes:
    """Return a path as one word of any login shell: csh, fish, and those like sh.

    A backslash makes a mark plain in each of them. There is no such word for a newline.
    """
    return b"".join(
        bytes([byte]) if byte in _PLAIN or byte > 0x7F else b"\\%c" % byte
        for byte in path
    )


def main(folder: str, words: list[str]) -> int:
    """Carry the session of a tool; return the status that the tool is to see."""
    with open(f"{folder}/{WISH}", encoding="utf-8") as file:
        wish = RideWish(*json.load(file))
    options, command = ["-s"], ["sftp"]
    if wish.tool == "rsync":
        # HOST, then the command line of rsync's other half; its last word is a path.
        options, command = [], words[1:]
        if wish.place:
            command[-1] = os.fsdecode(escape_for_login_shell(os.fsencode(wish.place)))
    ctx = Context(flags=wish.flags)
    try:
        return ride_along(ctx, wish.host, options, command, _become_session)
    except SshJobsError as error:
        with open(f"{folder}/{ERROR}", "w", encoding="utf-8") as file:
            file.write(dump(error))
        return 255
    finally:
        ctx.close()


def _become_session(argv: list[str]) -> int:
    """Run ssh on the pipes of the tool, which ends it by closing them."""
    import subprocess

    child = subprocess.Popen(argv)
    try:
        return child.wait()
    except BaseException:
        child.kill()
        raise


def run_as_ssh() -> None:
    """End this process with the session of the tool that started it."""
    try:
        status = main(sys.argv[1], sys.argv[2:])
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
