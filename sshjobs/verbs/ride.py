"""One session of the system's ssh over the connection that all share.

Theory of operation: where no master lives, a round makes it, under the gate and with
the retries, pauses and bounds of every round. Then ssh is started on its socket, with
options that keep it from dialling. ssh reads no byte of its standard input before a
session is open, so that one that was refused (MaxSessions) or found no master can be
started again: its own log tells these apart, since 255 may be the command's status too.

Riders take turns: each holds one of a few locks of the connection. Their number starts
at a part of sshd's default MaxSessions, so that rounds find a session. Where a host
refuses one all the same, it falls below the number of those that had one, for a while.
"""

from __future__ import annotations

import _thread
import os
import sys
import time

from .. import transports
from ..errors import HostUnreachable, SessionRefused, SpecError, find_hint
from ..locks import FileLock
from ..rounds import Coordinator
from ..rounds.needs import require_fresh_round
from ..startup.contexts import suppress
from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import signal
from .context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..settings import Settings
    from ..transports.identity.identity import Identity

    #: Runs a command to its end and returns its status.
    Runner = Callable[[list[str]], int]

#: sshd_config(5), 9.2: MaxSessions is 10. Rounds, a long log and a watch take the rest.
_RIDERS = 6

#: Seconds that a host's refusal counts.
_LEARNT = 600.0

#: Seconds between two looks for a free turn; each process has its own.
_PAUSE = 0.05 + os.getpid() % 16 / 100

#: Seconds after which a person is told why nothing happens.
_TELL = 2.0

#: How often a master may vanish between a look at it and the session on it.
_TRIES = 5

#: How ssh says that it found no master, and so opened no session.
_NO_MASTER = (
    "Control socket connect(",
    "master hello exchange failed",
    "mux_client_hello",
)


def ride_along(
    ctx: Context,
    host: str,
    options: Sequence[str],
    command: Sequence[str],
    run: Runner | None = None,
) -> int:
    """Run ssh with these options over the shared connection; return its exit status.

    Args:
        run: Runs the command of a session that is sshjobs' own: its ssh reads no
            configuration, which may add anything to a session. None: ssh is as the
            user has it, on this process's standard input and output.

    Raises:
        SpecError: there is no ssh connection to that host to ride on.
        HostUnreachable: no connection; nothing ran.
        SessionRefused: the host opens no session, and no rider is about to end one.
    """
    with ctx.coordinator(host) as coordinator:
        identity, settings = coordinator.identity, coordinator.settings
        _require_ssh_connection(host, identity, settings)
        since = time.monotonic()
        lost = 0
        while True:
            hooks = coordinator.leadership.build_hooks()
            if not transports.read_connection_state(identity, hooks).alive:
                # A round makes the connection.
                fresh = require_fresh_round(coordinator.site, coordinator.clock())
                coordinator.wait_for(fresh)
            with _Turn(coordinator, ctx, since) as turn:
                status, said = _run_rider(coordinator, options, command, run)
                if "Session open refused by peer" in said:
                    if (
                        not turn.learn()
                        and time.monotonic() > since + settings.wait_host
                    ):
                        hint = find_hint("session:rider")
                        raise SessionRefused(host, "the host opens no session", hint)
                elif status == 255 and any(words in said for words in _NO_MASTER):
                    lost += 1
                    if lost > _TRIES:
                        raise HostUnreachable(host, "the connection ends at once")
                else:
                    sys.stderr.write("" if "-q" in options else said)
                    coordinator.store.sites.count_events(
                        coordinator.site_id, {"sessions": 1}
                    )
                    return status
            time.sleep(_PAUSE)


def _require_ssh_connection(host: str, identity: Identity, settings: Settings) -> None:
    """Refuse a host to which no ssh of the system makes the connection."""
    if identity.is_local:
        raise SpecError(f"{host} is this machine: there is no connection to ride on")
    if transports.ends_with_leader(identity, settings):
        raise SpecError(
            f"{host}: there is no connection of the system's ssh to ride on: one of "
            "Fabric's (setting transport) ends with the process that made it"
        )


class _Turn:
    """One rider's right to a session, held while it lasts."""

    def __init__(self, coordinator: Coordinator, ctx: Context, since: float) -> None:
        self._path = coordinator.identity.socket_path(coordinator.rundir)
        self._say = ctx.say
        self._host = coordinator.identity.host
        self._since = since
        self._lock: FileLock | None = None
        self._is_told = False

    def __enter__(self) -> _Turn:
        while self._lock is None:
            for number in range(self._read_limit()):
                lock = FileLock(f"{self._path}.r{number}")
                if lock.try_to_hold():
                    self._lock = lock
                    return self
            if not self._is_told and time.monotonic() > self._since + _TELL:
                self._is_told = True
                self._say(f"{self._host}: waits until another of its ssh sessions ends")
            time.sleep(_PAUSE)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _read_limit(self) -> int:
        try:
            with open(f"{self._path}.riders", encoding="ascii") as file:
                if os.fstat(file.fileno()).st_mtime > time.time() - _LEARNT:
                    return max(1, min(_RIDERS, int(file.read() or "1")))
        except (OSError, ValueError):
            pass
        return _RIDERS

    def learn(self) -> int:
        """Let fewer ride from now on; return how many others do at this moment."""
        others = 0
        for number in range(_RIDERS):
            path = f"{self._path}.r{number}"
            if self._lock is not None and self._lock.path == path:
                continue
            lock = FileLock(path)
            if os.path.exists(path) and not lock.try_to_hold():
                others += 1
            lock.release()
        new = f"{self._path}.riders.{os.getpid()}"
        with open(new, "w", encoding="ascii") as file:
            file.write(str(max(1, others - 1)))
        os.replace(new, f"{self._path}.riders")
        return others


def _run_rider(
    coordinator: Coordinator,
    options: Sequence[str],
    command: Sequence[str],
    run: Runner | None,
) -> tuple[int, str]:
    """Run one ssh on the socket; return its status and its own words."""
    from ..transports.openssh.client import build_client_argv
    from ..transports.openssh.command_lines import build_rider_argv

    identity = coordinator.identity
    socket = identity.socket_path(coordinator.rundir)
    log = f"{socket}.{os.getpid()}.{_thread.get_ident():x}.l"
    words = [identity.target, *command]
    if run is None:
        kept = [word for word in options if word != "-q"]
        argv = [*build_rider_argv(identity, socket, log, kept), *words]
    else:
        argv = build_client_argv(identity, socket, "-E", log, *options, "--", *words)
    try:
        status = (run or _run_at_terminal)(argv)
    finally:
        said = ""
        with suppress(FileNotFoundError):
            with open(log, encoding="utf-8", errors="replace") as file:
                said = file.read()
            os.unlink(log)
    return (status if status >= 0 else 128 - status), said


def _run_at_terminal(argv: list[str]) -> int:
    """Run ssh on our standard input and output, and have it hear our signals."""
    import subprocess

    child = subprocess.Popen(argv)
    # ssh hears Ctrl-C itself; a signal to end this process is for ssh.
    old = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        old[number] = signal.signal(number, lambda n, _: child.send_signal(n))
    try:
        return child.wait()
    finally:
        for number, before in old.items():
            signal.signal(number, before)
