"""The fallback: a connection that Fabric makes, where there is no ssh to make it.

Theory of operation: a process of ours (:mod:`.owner`) owns the connection, as
a master of ssh does, with this difference: it ends with the process that started it,
the leader. The leader holds the gate for as long, since nobody else can use the
connection, and its file names the process. So there are never two: a waiting
process gets the gate once the leader hangs up or dies, and a usurper that takes it from
a stopped leader kills that process first.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from ...errors import (
    AccountRefused,
    CommandTimeout,
    ConnectionLost,
    HostUnreachable,
    SessionRefused,
    SpecError,
    SshJobsError,
    Throttled,
    TransportError,
    find_hint,
    of_system,
)
from ...locks import unlink_if_there
from ...settings import Settings
from ..base import CallerHooks, Completed, Sink, Stdin, StdoutTaker
from ..env import build_ssh_env
from ..gate import Gate, GateLost, hold_jump_slot, pause_before_next_try
from ..identity.identity import Identity, check_rundir
from ..login_secrets import has_login_secrets, read_login_secrets
from ..openssh.command_lines import choose_connect_seconds
from ..openssh.handshake import (
    bound_login_seconds,
    make_late_login_error,
    open_streams_of_ssh,
    read_end_of_log,
)
from ..openssh.master import LiveMaster, probe_master
from ..openssh.mux import MuxError
from ..openssh.session import OpenSSH
from ..openssh.shutdown import end_for_unshared_connection, prefix_of_logs
from ..process import Child, spawn_program
from ..pump import Pump, Silence
from ..ssh_errors import clean_words, explain_failed_login

_MODULE = "sshjobs.transports.fabric.owner"

#: Seconds between two beats of the gate in a session.
_BEAT = 1.0

#: Seconds that the process may take to take in a request; it only hands it on.
_TAKE = 5.0


def connect_by_fabric(
    identity: Identity,
    settings: Settings,
    hooks: CallerHooks,
    *,
    interactive: bool = False,
) -> Fabric | OpenSSH:
    """Wait for the gate, and make a connection that ends with this process.

    Where ssh is not to be had, a master that somebody with an ssh has made is used.

    Raises:
        TransportError: there is none, and none can be made now.
        SpecError: a person is to be asked; this transport asks nobody.
    """
    if interactive and not has_login_secrets(settings):
        raise SpecError(
            f"{identity.host}: without the system's ssh no connection stays open, and "
            "no password is asked for; each command connects anew, by a key or the "
            "agent"
        )
    check_rundir(hooks.rundir)
    while True:
        live = _find_master(identity, settings, hooks)
        if live is not None:
            return OpenSSH(identity, settings, hooks, live)
        gate = Gate(hooks.rundir, identity.key)
        try:
            if gate.try_to_hold():
                return _make_under_gate(identity, settings, hooks, gate)
        except GateLost:
            gate.release()
            continue
        except BaseException:
            gate.release()
            raise
        pause_before_next_try(hooks.on_wait)


def _find_master(
    identity: Identity, settings: Settings, hooks: CallerHooks
) -> LiveMaster | None:
    if settings.transport == "fabric":
        return None
    try:
        return probe_master(identity, "native", hooks)
    except MuxError:  # it is of no use, and is ended under the gate
        return None


def _make_under_gate(
    identity: Identity, settings: Settings, hooks: CallerHooks, gate: Gate
) -> Fabric:
    def on_wait() -> None:
        gate.show_beat()
        hooks.on_wait()

    ours = hooks._replace(on_wait=on_wait)
    end_for_unshared_connection(identity, settings, ours)
    log = f"{prefix_of_logs(identity, hooks.rundir)}{gate.generation}"
    with hold_jump_slot(ours, identity.first_hop) as inside:
        try:
            owner = _log_in(identity, settings, inside, gate, log)
        except AccountRefused as error:
            if error.is_certain:
                raise
            # Without a word it may have been the network, once; as with ssh.
            owner = _log_in(identity, settings, inside, gate, log)
    return Fabric(identity, settings, hooks, gate, owner)


def _log_in(
    identity: Identity, settings: Settings, hooks: CallerHooks, gate: Gate, log: str
) -> _Owner:
    """Make one handshake; return the process that owns the connection."""
    hooks.on_wait()
    hooks.before_handshake()
    hooks.count_event("handshakes", 1)
    owner = _Owner(identity, settings, log)
    try:
        gate.stamp_ssh(owner.child.pid, owner.child.start)
        _wait_for_login(identity, settings, hooks, owner)
    except BaseException:
        owner.close()
        raise
    return owner


class _Owner:
    """The process that owns a connection, and our line to it."""

    def __init__(self, identity: Identity, settings: Settings, log: str) -> None:
        self.log = log
        self._host = identity.host
        env = build_ssh_env(settings, identity.env) | {
            "PYTHONPATH": os.pathsep.join(
                # It starts at /, where a relative folder would be another.
                map(os.path.abspath, sys.path)
            )
        }
        # "-E LOG" is how it is found where its leader has died; see process.carriers.
        argv = (sys.executable, "-m", _MODULE, "-E", log)
        self._line, theirs = socket.socketpair()
        with theirs, open_streams_of_ssh(log, False) as (null, _, err):
            try:
                pid = spawn_program(argv, env, (theirs.fileno(), null, err), cwd="/")
            except OSError as error:
                self._line.close()
                raise HostUnreachable(
                    self._host, f"{sys.executable}: {error.strerror}"
                ) from error
        self.child = Child(pid)
        self._line.settimeout(_TAKE)

    def send_line(self, what: Any, fds: tuple[int, ...] = ()) -> None:
        """Send a line, and descriptors with it.

        Raises:
            OSError: it has ended, or takes nothing in.
        """
        data = json.dumps(what).encode() + b"\n"
        sent = socket.send_fds(self._line, [data], fds) if fds else 0
        self._line.sendall(data[sent:])

    def wait_for_line(self, seconds: float) -> list[Any] | None:
        """Return the next line; ``None`` if there is none yet, [] if none will be."""
        self._line.settimeout(seconds)
        try:
            data = self._line.recv(65536)
            while data and not data.endswith(b"\n"):
                data += self._line.recv(65536) or b'\n["failed", "cut off"]\n'
        except TimeoutError:
            return None
        except ConnectionError:
            return []
        finally:
            self._line.settimeout(_TAKE)
        answer: list[Any] = json.loads(data) if data else []
        return answer

    def close(self) -> None:
        """End the process, and so the connection."""
        self._line.close()
        self.child.kill()
        unlink_if_there(self.log)


def _wait_for_login(
    identity: Identity, settings: Settings, hooks: CallerHooks, owner: _Owner
) -> None:
    """Have the connection made; return once it is, raise why it is not."""
    limit = bound_login_seconds(identity, settings)
    login_request = {
        "host": identity.host,
        "target": identity.target,
        "config": identity.config,
        "options": identity.options,
        "connect": choose_connect_seconds(settings, identity.times[0]),
        "login": settings.banner_timeout,
        "keepalive": settings.keepalive_interval,
    }
    if has_login_secrets(settings):  # over the socket pair, to this one process
        login_request |= read_login_secrets(settings)._asdict()
    end = time.monotonic() + limit
    try:
        owner.send_line(login_request)
    except OSError:  # it has ended; why is in its log
        pass
    while (answer := owner.wait_for_line(0.5)) is None:
        hooks.on_wait()
        if time.monotonic() >= end:
            raise make_late_login_error(identity, limit, read_end_of_log(owner.log))
    hooks.on_wait()
    if answer[:1] != ["open"]:
        raise _explain_answer(identity, hooks, owner, answer)


def _explain_answer(
    identity: Identity, hooks: CallerHooks, owner: _Owner, answer: list[Any]
) -> SshJobsError:
    """Return the error of a login that came to nothing."""
    owner.child.wait(1.0)
    _, text, said = answer if len(answer) == 3 else ("", "", "")
    text = f"{read_end_of_log(owner.log)}{text}"
    error = explain_failed_login(identity.host, text, owner.child.status, said)
    if isinstance(error, AccountRefused):
        error.is_certain = bool(clean_words(said))
    if isinstance(error, Throttled):
        hooks.count_event("drops", 1)
    return error


class Fabric:
    """Runs commands on a connection of its own."""

    name = "fabric"

    def __init__(
        self,
        identity: Identity,
        settings: Settings,
        hooks: CallerHooks,
        gate: Gate,
        owner: _Owner,
    ) -> None:
        self._host = identity.host
        self._hooks = hooks
        self._gate = gate
        self._owner = owner

    def __repr__(self) -> str:
        return f"<Fabric {self._host} by pid {self._owner.child.pid}>"

    def close(self) -> None:
        """End the connection, and let the next one in."""
        self._owner.close()
        self._gate.release()

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
        beating = self._beat_before(sink)
        try:
            session = _Session()
            pump = session.make_pump(
                lambda: Pump(
                    stdin,
                    beating,
                    timeout,
                    into=into,
                    keep_stdin_open=keep_stdin_open,
                )
            )
        except OSError as error:
            raise of_system("no pipes to be had here", error) from error
        try:
            session.ask_owner(self._owner, script, pump)
            pump.run(session.fileno(), session.has_ended)
        except Silence as error:
            raise CommandTimeout(
                self._host,
                f"nothing came for {timeout:g} s; the command may go on there",
                find_hint("round:setting", "session:again", name="command_timeout"),
            ) from error
        except GateLost as error:
            raise self._explain_lost_connection() from error
        finally:
            pump.close()
            session.close()
            if session.opened:
                self._hooks.count_event("sessions", 1)
        return self._judge_outcome(session, pump)

    def _beat_before(self, sink: Sink) -> Sink:
        """Return a sink that shows the beat of the gate before it passes bytes on."""
        beaten_at = [0.0]

        def beat_and_sink(piece: bytes) -> None:
            now = time.monotonic()
            if now - beaten_at[0] >= _BEAT:
                beaten_at[0] = now
                self._gate.show_beat()
            sink(piece)

        return beat_and_sink

    def _judge_outcome(self, session: _Session, pump: Pump) -> Completed:
        kind, value = session.said
        if kind == "ended" and value != -1:
            return Completed(value, pump.stderr, pump.stdout_bytes)
        if kind == "refused":
            self._hooks.count_event("refusals", 1)
            text = f"Session open refused by peer: {value}; nothing ran there"
            raise SessionRefused(self._host, text, find_hint("session:full"))
        if kind == "gone":
            text = f"the connection has ended ({value}); nothing ran there"
            raise SessionRefused(self._host, text, find_hint("session:again"))
        raise self._explain_lost_connection()

    def _explain_lost_connection(self) -> TransportError:
        return ConnectionLost(
            self._host,
            "the connection ended in the middle of a session; the command may go on "
            "there",
            find_hint("session:again"),
        )


class _Session:
    """The outcome of one command, as the owner of the connection reports it."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._data = b""
        self.opened = False
        #: What was said last: a word, and what goes with it.
        self.said: tuple[str, Any] = ("lost", None)

    def make_pump(self, make: Callable[[], Pump]) -> Pump:
        """Return the pump of the bytes; the session is closed if there is none."""
        try:
            return make()
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is news."""
        return self._ours.fileno()

    def ask_owner(self, owner: _Owner, script: str, pump: Pump) -> None:
        """Ask for the command; if nobody hears that, nothing runs."""
        try:
            owner.send_line(script, (*pump.theirs, self._theirs.fileno()))
        except OSError as error:
            self.said = ("gone", error.strerror)
        self._theirs.close()
        pump.close_handed_ends()

    def has_ended(self) -> bool:
        """Read the news; tell whether it is the last."""
        try:
            data = self._ours.recv(65536)
        except BlockingIOError:
            return False
        self._data += data
        *lines, self._data = self._data.split(b"\n")
        for line in lines:
            word, *rest = json.loads(line)
            self.opened = self.opened or word == "opened"
            if word != "opened":
                self.said = (word, rest[0])
        return not data or bool(self.said[0] != "lost")

    def close(self) -> None:
        """Lose interest; the session is closed if it is still open."""
        self._ours.close()
        self._theirs.close()
