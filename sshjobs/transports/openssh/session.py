"""Sessions over the control socket of the system's own ssh.

Two ways to open one: the multiplexing protocol itself (:mod:`.mux`), or ``ssh -S``
(:mod:`.client`). Both end in the same outcomes; the setting ``mux`` chooses, and
``auto`` takes the second where a master does not speak the first.
"""

from __future__ import annotations

from ... import processes
from ...errors import (
    CommandTimeout,
    ConnectionLost,
    HostUnreachable,
    SessionRefused,
    SshJobsError,
    find_hint,
    of_system,
)
from ...settings import Settings
from ...startup.records import TYPE_CHECKING
from ...startup.stdlib import signal
from ..base import CallerHooks, Completed, Sink, Stdin, StdoutTaker
from ..identity.identity import Identity, check_rundir
from ..pump import Pump, Silence
from .master import PATIENCE, LiveMaster, find_usable_master, probe_master
from .mux import (
    S_EXIT_MESSAGE,
    S_FAILURE,
    S_PERMISSION_DENIED,
    S_SESSION_OPENED,
    Control,
    Cut,
    Gone,
    MuxError,
    Refused,
    Stuck,
    Unfit,
)

if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

_ENDED = "the connection ended right after the login, before a session was opened"


def connect_by_openssh(
    identity: Identity,
    settings: Settings,
    hooks: CallerHooks,
    *,
    interactive: bool = False,
) -> OpenSSH:
    """Return a transport over the one live master of ``identity``; see :mod:`.master`.

    Raises:
        TransportError: there is none, and none can be made now.
        StoreError: ``hooks.rundir`` cannot be used.
    """
    check_rundir(hooks.rundir)
    live = find_usable_master(identity, settings, hooks)
    if live is None:
        from .handshake import (  # most processes find a master and need none of it
            make_master,
        )

        live = make_master(identity, settings, hooks, interactive=interactive)
    return OpenSSH(identity, settings, hooks, live)


class Session(Protocol):
    """One way to run one command over a master."""

    #: Whether a session was opened, as far as is known.
    opened: bool

    def run(self, script: str, pump: Pump) -> int | None:
        """Run one command; return its exit status.

        Raises:
            Refused: the host opens no session; nothing ran.
            Gone: there is no master; nothing ran.
            Stuck: the master does not take the request; nothing ran.
            Cut: the session ended without a status.
            Silence: see :class:`~.pump.Pump`.
        """

    def close(self) -> None:
        """Let go of the socket."""


class OpenSSH:
    """Runs commands on the one connection of a host.

    It holds the control connection that found the master alive, for the first
    session: while that is open the master does not end for idleness.
    """

    name = "openssh"

    def __init__(
        self,
        identity: Identity,
        settings: Settings,
        hooks: CallerHooks,
        live: LiveMaster,
    ) -> None:
        self._identity = identity
        self._settings = settings
        self._hooks = hooks
        self._live = live
        self._control = live.control

    def __repr__(self) -> str:
        return f"<OpenSSH {self._identity.host} over pid {self._live.pid}>"

    def close(self) -> None:
        """Hang up at the control socket; the master and its connection stay."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def run(
        self,
        script: str,
        *,
        stdin: Stdin,
        timeout: float,
        sink: Sink,
        into: StdoutTaker | None = None,
        keep_stdin_open: bool = False,
    ) -> Completed:
        """Run one command line on the host; see :class:`~.base.Transport`."""
        try:
            # A pid is a number that the kernel gives away again: its start time tells
            # afterwards whether that master is still there.
            start = processes.read_start_time(self._live.pid) or ""
            pump = Pump(
                stdin, sink, timeout, into=into, keep_stdin_open=keep_stdin_open
            )
        except OSError as error:
            raise of_system("no pipes to be had here", error) from error
        session: Session | None = None
        try:
            session = self._choose_session()
            status = session.run(script, pump)
        except Silence as error:
            raise self._explain_silence(session, start, timeout) from error
        except MuxError as error:
            raise self._explain_no_session(error) from error
        except Cut as error:
            # No status came. The client drops exit-signal (clientloop.c, 9.2 to 10.5),
            # and sshd's ChannelTimeout (9.2) cuts a silent command: the session ended
            # by itself where the same master lives on, and with the connection else.
            if session is None or not session.opened or not self._still_answers(start):
                raise self._explain_lost_connection(session) from error
            status = None
        finally:
            # Our ends first: the master holds the others until the command ends.
            pump.close()
            if session is not None:
                session.close()
                if session.opened:
                    self._live = self._live._replace(is_new=False)
                    self._hooks.count_event("sessions", 1)
        return Completed(status, pump.stderr, pump.stdout_bytes)

    def _choose_session(self) -> Session:
        """Return a session that is not open yet."""
        control, self._control = self._control, None
        mux = self._settings.mux
        path = self._identity.socket_path(self._hooks.rundir)
        if mux == "ssh":
            return _open_by_client(self._identity, path)
        try:
            control = control or Control(path, PATIENCE, self._hooks.on_wait)
        except Unfit:
            # Another protocol than version 4 (OpenSSH 5.4 to 10.5 speak it): ssh -S of
            # the same release as the master knows its own.
            if mux == "native":
                raise
            return _open_by_client(self._identity, path)
        return Native(control)

    def _still_answers(self, start: str) -> bool:
        """Tell whether the master of before still answers."""
        if processes.read_start_time(self._live.pid) != start:
            return False
        try:
            # An answer comes out of the master's memory: it says that the process is
            # there, and nothing of the network.
            live = probe_master(self._identity, self._settings.mux, self._hooks)
        except MuxError:
            return False
        if live is not None and live.control is not None:
            live.control.close()
        return live is not None and live.pid == self._live.pid

    def _explain_silence(
        self, session: Session | None, start: str, timeout: float
    ) -> CommandTimeout:
        if session is not None and session.opened:
            detail = f"nothing came for {timeout:g} s; the command may go on there"
        else:
            # A live host opens a session within a round trip. The connection is dead
            # and its keepalives have not told yet: end it, so that the next is new.
            processes.kill_process(self._live.pid, start, signal.SIGTERM)
            detail = (
                f"no session was opened within {timeout:g} s, the connection is given "
                "up; the command may have started"
            )
        hint = find_hint("round:setting", "session:again", name="command_timeout")
        return CommandTimeout(self._identity.host, detail, hint)

    def _explain_no_session(self, error: MuxError) -> SshJobsError:
        """Return the error for a session that was not opened; nothing ran."""
        host = self._identity.host
        if isinstance(error, Refused):
            # MaxSessions (10) counts per connection, and a session is free again once
            # the channel is closed and its child reaped (9.2): waiting helps.
            self._hooks.count_event("refusals", 1)
            hint = find_hint("session:full")
            return SessionRefused(host, f"{error}; nothing ran there", hint)
        if isinstance(error, Gone) and self._live.is_new:
            # Another login at once would end likewise: thirty of them went out within a
            # minute, of an account whose ChrootDirectory sshd did not like (9.2).
            hint = find_hint("session:log")
            return HostUnreachable(host, f"{_ENDED}; nothing ran there", hint)
        if isinstance(error, (Gone, Stuck)):
            # ControlPersist or the server's UnusedConnectionTimeout (9.2) may end a
            # master at any time; the next attempt makes another.
            text = f"the connection has ended ({error}); nothing ran there"
            return SessionRefused(host, text, find_hint("session:again"))
        return HostUnreachable(
            host,
            f"the control socket is of no use: {error}; nothing ran there",
            find_hint("here:mux"),
        )

    def _explain_lost_connection(self, session: Session | None) -> ConnectionLost:
        opened = session is not None and session.opened
        host = self._identity.host
        if self._live.is_new and not opened:
            text = f"{_ENDED}; the command may go on there"
            hint = find_hint("session:log", "session:again")
            lost = ConnectionLost(host, text, hint)
            lost.is_of_login = True
            return lost
        when = "in the middle of a session" if opened else "as a session was asked for"
        text = f"the connection ended {when}; the command may go on there"
        return ConnectionLost(host, text, find_hint("session:again"))


class Native:
    """One session by the multiplexing protocol."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._status: int | None = None
        self.opened = False

    def run(self, script: str, pump: Pump) -> int | None:
        """Run one command; see :class:`Session`."""
        self._control.ask_for_session(script, pump.theirs)
        pump.close_handed_ends()
        pump.run(self._control.fileno(), self._has_ended)
        if self._status is None:
            raise Cut("the session ended without a status")
        return self._status

    def _has_ended(self) -> bool:
        packets = self._control.receive_packets()
        for packet in packets or ():
            if packet.type == S_SESSION_OPENED:
                self.opened = True
            elif packet.type == S_EXIT_MESSAGE:
                # It comes before the end of the output, which may be in the pipes.
                self._status = packet.read_u32(1)
            elif packet.type in (S_FAILURE, S_PERMISSION_DENIED):
                # "Session open refused by peer" is how MaxSessions shows (9.2, 10.5).
                raise Refused(packet.read_text(4) or "the master refused it")
        # The master closes the socket after the last byte has gone through the pipes.
        return packets is None

    def close(self) -> None:
        """Hang up."""
        self._control.close()


def _open_by_client(identity: Identity, path: str) -> Session:
    from .client import ByClient

    return ByClient(identity, path)
