"""The ssh client on a control socket: the way that works with any master.

A mux client that finds no master, or no free session, silently dials a connection of
its own (OpenSSH 5.4 to 10.5, ssh.c). A proxy that always fails leaves it only the
socket. No configuration file is read, so that none can add a command, a forwarding
or an environment to a session.
"""

from __future__ import annotations

import os
import re

from ...quoting import escape_percent
from ...startup.records import TYPE_CHECKING
from .. import process
from ..identity.identity import Identity
from ..pump import Pump, Silence
from .mux import Cut, Gone, Refused, Stuck, Unfit

if TYPE_CHECKING:
    from collections.abc import Sequence


_NEVER_DIAL = ("-o", "ControlMaster=no", "-o", "ProxyCommand=false")
_BARE = ("-F", "/dev/null", "-T", "-x", "-a", "-o", "ClearAllForwardings=yes")

# What ssh writes at DEBUG2 about a session over a socket (9.2 and 10.5).
_STATUS = re.compile(r"Received exit status from master (\d+)")
_OPENED = "master session id: "
_REFUSED = re.compile(r"session request failed: (.*)")
_UNSURE = re.compile(r"mux_client_request_session: (read from master failed.*)")


def build_client_argv(identity: Identity, socket: str, *words: str) -> list[str]:
    """Return an ssh command that can use the socket and nothing else."""
    path = escape_percent(socket)  # -S expands tokens as ControlPath does (9.2)
    bare = [identity.ssh, *_BARE, *_NEVER_DIAL, "-o", "BatchMode=yes", "-S", path]
    return [*bare, *words]


def send_order_by_ssh(
    identity: Identity, socket: str, word: str, seconds: float
) -> bytes:
    """Run ``ssh -O``; return its output.

    Raises:
        Stuck: it says nothing for so long; a stopped master hangs it (9.2).
    """
    pieces: list[bytes] = []
    command = build_client_argv(identity, socket, "-O", word, "--", identity.target)
    pump = Pump(b"", pieces.append, seconds)
    try:
        _run_ssh(command, pump)
    except Silence as error:
        raise Stuck("the master does not answer") from error
    return b"".join(pieces) + pump.stderr


def _run_ssh(command: Sequence[str], pump: Pump) -> None:
    env = {"PATH": os.defpath}  # bare: what a session sends is its own, by SendEnv
    child = None
    try:
        try:
            pid = process.spawn_program(command, env, pump.theirs, cwd="/")
        except OSError as error:
            raise Unfit(f"{command[0]}: {error.strerror}") from error
        child = process.Child(pid)
        pump.close_handed_ends()
        pump.run(child.fd, child.poll)
    finally:
        # Our ends first: the master holds the others until the command ends, and
        # whoever waited for their end would wait as long.
        pump.close()
        if child is not None:
            child.kill()


class ByClient:
    """One session by ``ssh -S``; see :class:`~.openssh.Session`."""

    def __init__(self, identity: Identity, socket: str) -> None:
        self._identity = identity
        self._socket = socket
        self.opened = False

    def run(self, script: str, pump: Pump) -> int | None:
        """Run one command; see :class:`~.openssh.Session`."""
        # Beside stderr, so that ssh's own lines never stand among the command's.
        log = f"{self._socket}.{os.getpid()}.{os.urandom(4).hex()}"
        words = (
            "-o",
            "LogLevel=DEBUG2",
            "-E",
            log,
            "--",
            self._identity.target,
            script,
        )
        try:
            _run_ssh(build_client_argv(self._identity, self._socket, *words), pump)
        finally:
            text = _take_log(log)
            self.opened = _OPENED in text
        return _read_outcome(text)

    def close(self) -> None:
        """Hold nothing."""


def _take_log(log: str) -> str:
    """Return the text of a session's log and remove it."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        os.unlink(log)
    except FileNotFoundError:
        return ""
    return text


def _read_outcome(text: str) -> int | None:
    # 255 is a command's own status, and also ssh's word for its failure: the log alone
    # tells one from the other.
    status = _STATUS.search(text)
    if status:
        return int(status[1])
    refused = _REFUSED.search(text)
    if refused:
        raise Refused(refused[1].strip())
    if _OPENED in text or _UNSURE.search(text):
        raise Cut("the session ended without a status")
    raise Gone("no master answered")
