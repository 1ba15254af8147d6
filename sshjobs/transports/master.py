"""The connection's life: look, start, verify, drain, end. One master a connection.

Theory of operation: a master is an ``ssh -N -f`` that owns the connection and
listens at a control socket. Whoever finds a live one uses it, without any lock.
Whoever does not waits for the gate, looks again, clears away what is dead, starts
one master and asks *that socket* for it.

``ControlMaster=auto`` is not used: processes that race each make a connection, and
all but one keep theirs. ``ControlMaster=yes`` never looks at the socket that it
finds: with a file at that path, ssh says "already exists, disabling multiplexing",
ends with status 0 and leaves a connection behind that nobody owns, for ever
(OpenSSH 9.2, 10.5). So the path is cleared first, the words are looked for after,
and each ssh that we start carries the path of its log as an argument, by which it
can be found whatever happened to who started it.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from ..errors import HostUnreachable, StoreError, Throttled
from ..settings import Settings
from . import process
from .base import ConnState, Door
from .causes import diagnose, words
from .client import order
from .gate import Gate, GateLost, hop, pause
from .identity import Identity, check_rundir
from .mux import Control, Foreign, Gone, MuxError, Stuck, Unfit
from .resolving import ssh_env

#: Seconds that a master may take to answer before it counts as hung. It is one thread
#: and answers in 0.1 ms; a busy machine may keep it from running for a while.
PATIENCE = 5.0

#: Unanswered probes (ServerAliveInterval) that end a connection.
_PROBES = 3

#: A person who types a password; sshd itself gives 120 s (LoginGraceTime).
_TYPING = 180.0

_ORPHAN = "already exists, disabling multiplexing"
_RUNNING = re.compile(rb"Master running \(pid=(\d+)\)")


class Live(NamedTuple):
    """A master that has just answered.

    ``control`` is the connection that asked, good for one session; while it is open
    the master does not end for idleness (a multiplexing client counts as a channel,
    OpenSSH 9.2). ``None`` where ssh had to ask.
    """

    pid: int
    control: Control | None


def probe(
    identity: Identity, mux: str, door: Door, patience: float = PATIENCE
) -> Live | None:
    """Return the live master, or ``None`` if nobody answers at the socket.

    Args:
        mux: The setting of that name.
        patience: Seconds for each step of asking.

    Raises:
        Stuck: a master is there and does not answer.
    """
    if mux == "ssh":
        return _probe_by_ssh(identity, door, patience)
    try:
        return _probe(identity, door, patience)
    except (Gone, Foreign):
        return None
    except Unfit:
        if mux == "native":
            raise
        return _probe_by_ssh(identity, door, patience)


def _probe(identity: Identity, door: Door, patience: float) -> Live:
    control = Control(identity.socket(door.rundir), patience, door.tick)
    try:
        return Live(control.alive(), control)
    except BaseException:
        control.close()
        raise


def _probe_by_ssh(identity: Identity, door: Door, patience: float) -> Live | None:
    if not os.path.lexists(identity.socket(door.rundir)):
        return None
    found = _RUNNING.search(
        order(identity, identity.socket(door.rundir), "check", patience)
    )
    return Live(int(found[1]), None) if found else None


def ensure(
    identity: Identity, settings: Settings, door: Door, *, interactive: bool
) -> Live:
    """Return the one live master of ``identity``, made under the gate if need be.

    Raises:
        TransportError: there is none, and none can be made now.
        StoreError: ``door.rundir`` cannot be used.
    """
    check_rundir(door.rundir)
    while True:
        live = _look(identity, settings, door)
        if live is not None:
            return live
        with _gate_if_free(identity, door) as gate:
            if gate is None:
                pause(door.tick)
                continue
            inner = door._replace(tick=_both(gate.beat, door.tick))
            try:
                return _make(identity, settings, inner, gate, interactive)
            except GateLost:
                continue


def _look(identity: Identity, settings: Settings, door: Door) -> Live | None:
    try:
        return probe(identity, settings.mux, door)
    except Stuck:  # it is replaced under the gate, where this is asked once more
        return None
    except MuxError as error:
        raise HostUnreachable(
            identity.host,
            f"the control socket is of no use: {error}; nothing ran there",
            "setting mux=auto lets ssh itself talk to it",
        ) from error


@contextmanager
def _gate_if_free(identity: Identity, door: Door) -> Iterator[Gate | None]:
    gate = Gate(door.rundir, identity.key)
    try:
        yield gate if gate.take() else None
    finally:
        gate.release()


def _both(one: Callable[[], None], other: Callable[[], None]) -> Callable[[], None]:
    def tick() -> None:
        one()
        other()

    return tick


def _make(
    identity: Identity, settings: Settings, door: Door, gate: Gate, interactive: bool
) -> Live:
    """Look again, and make the connection if it is still missing; the gate is ours."""
    live = _look(identity, settings, door)
    if live is not None:
        return live
    _clear(identity, door.rundir)
    with hop(door.rundir, identity.first_hop, door.tick):
        door.tick()
        door.admit()
        door.note("handshakes", 1)
        status, text = _handshake(identity, settings, door, gate, interactive)
    if status != 0:
        error = diagnose(identity.host, text, status)
        if isinstance(error, Throttled):
            door.note("drops", 1)
        raise error
    live = _verify(identity, settings, door, text)
    _record(identity, door.rundir, live.pid)
    return live


def _verify(identity: Identity, settings: Settings, door: Door, text: str) -> Live:
    """Return the master that answers at our socket, and end one that does not."""
    live = _look(identity, settings, door)
    if live is not None and _ORPHAN not in text:
        return live
    for pid, start in process.carriers(_log(identity, door.rundir)):
        if live is None or pid != live.pid:
            process.end(pid, start)
    if live is not None:
        return live
    raise HostUnreachable(
        identity.host,
        f"the connection ended right after the login: {words(text)}; nothing ran there",
        "see the server's log; sshd_config UnusedConnectionTimeout does that too",
    )


def _clear(identity: Identity, folder: str) -> bool:
    """End what is left of an older master; tell whether there was something.

    A process that does not answer, one whose socket is gone, one whose starter was
    killed before it wrote anything down: each has our log among its arguments.
    """
    found = [process.end(*_recorded(identity, folder)[:2])]
    for pid, start in process.carriers(_log(identity, folder)):
        found.append(process.end(pid, start))
    for path in (identity.socket(folder), _record_path(identity, folder)):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(
                f"{path}: in the way of the control socket, and cannot be removed: "
                f"{error.strerror}"
            ) from error
    return any(found)


def _handshake(
    identity: Identity, settings: Settings, door: Door, gate: Gate, interactive: bool
) -> tuple[int, str]:
    """Run ssh until it has authenticated or failed; return its status and its words."""
    log = _log(identity, door.rundir)
    limit = _TYPING if interactive else _patience(identity, settings)
    argv = master_argv(identity, settings, door.rundir, interactive=interactive)
    env = ssh_env(settings, interactive=interactive)
    with _streams(log, interactive) as fds:
        try:
            pid = process.spawn(argv, env, fds, cwd="/", session=not interactive)
        except OSError as error:
            raise HostUnreachable(
                identity.host, f"{identity.ssh}: {error.strerror}; nothing ran there"
            ) from error
    child = process.Child(pid, group=not interactive)
    try:
        gate.stamp(child.pid, child.start)
        end = time.monotonic() + limit
        while not child.wait(0.5):
            door.tick()
            if time.monotonic() >= end:
                raise _late(identity, limit, _read(log))
        gate.stamp(0, "")
        door.tick()
    finally:
        child.kill()
    return child.status or 0, _read(log)


def _patience(identity: Identity, settings: Settings) -> float:
    """Return how long all of a handshake may take; each hop connects once."""
    hops = 1 + len(identity.jump.split(",")) if identity.jump else 1
    return hops * settings.conn_timeout + settings.banner_timeout


def _late(identity: Identity, limit: float, text: str) -> HostUnreachable:
    said = words(text)
    return HostUnreachable(
        identity.host,
        f"no login within {limit:g} s; nothing ran there" + (f": {said}" * bool(said)),
        "the host accepts connections and goes silent; settings conn_timeout and "
        "banner_timeout bound that together",
    )


@contextmanager
def _streams(log: str, interactive: bool) -> Iterator[tuple[int, int, int]]:
    """Lend what ssh gets as stdin, stdout and stderr; the log is made anew.

    Never a pipe: some versions keep it open for the life of the master (8.4 and
    older), and who waits for its end waits for ever.
    """
    if interactive:
        yield (0, 2, 2)
        return
    _unlink(log)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    err = os.open(log, flags, 0o600)
    try:
        yield (null, null, err)
    finally:
        os.close(null)
        os.close(err)


def master_argv(
    identity: Identity, settings: Settings, folder: str, *, interactive: bool = False
) -> list[str]:
    """Return the command that makes the connection.

    What stands on the command line beats ssh_config, which may say anything:
    RemoteCommand, LocalCommand, forwardings, a ControlPath of its own.
    """
    log = _log(identity, folder)
    ours = _common(settings, interactive) | {
        "ControlMaster": "yes",
        "ControlPath": _percent(identity.socket(folder)),
        "ControlPersist": str(math.ceil(settings.persist)),
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ForwardX11": "no",
        "Tunnel": "no",
    }
    if identity.version >= (7, 6):
        ours["RemoteCommand"] = "none"
    if identity.jump:
        ours["ProxyCommand"] = jump_command(identity, settings, log, interactive)
    argv = [identity.ssh, *_with_config(identity), "-N", "-f", "-T", "-E", log]
    for name, value in ours.items():
        argv += ["-o", f"{name}={value}"]
    for option in identity.options:
        argv += ["-o", option]
    return [*argv, "--", identity.target]


def _common(settings: Settings, interactive: bool) -> dict[str, str]:
    """Return the options of every ssh that dials.

    ConnectTimeout bounds the connection and the greeting. A server that greets and
    goes silent is ended by ServerAlive*, which count from there (9.2, ssh.c).
    """
    return {
        "BatchMode": "no" if interactive else "yes",
        "ConnectTimeout": str(math.ceil(settings.conn_timeout) or 1),
        "ConnectionAttempts": "1",
        "ServerAliveInterval": str(math.ceil(settings.keepalive_interval)),
        "ServerAliveCountMax": str(_PROBES),
        "LogLevel": "VERBOSE",
    }


def _with_config(identity: Identity) -> list[str]:
    return ["-F", identity.config] if identity.config else []


def _percent(text: str) -> str:
    """Return ``text`` so that ssh expands nothing in it."""
    return text.replace("%", "%%")


def jump_command(
    identity: Identity, settings: Settings, log: str, interactive: bool
) -> str:
    """Return what ssh makes of ProxyJump, with its words kept and no questions.

    The command that ssh itself makes (``ssh -W '[%h]:%p' HOP``) is not told
    BatchMode, and its stderr goes to /dev/null with ControlPersist (since 8.0).
    """
    *earlier, last = identity.jump.split(",")
    user, _, place = last.rpartition("@")
    found = _PLACE.fullmatch(place)
    name, port = (found[1] or found[2], found[3]) if found else (place, "")
    argv = [identity.ssh, *_with_config(identity), "-E", log]
    for option, value in (_common(settings, interactive)).items():
        argv += ["-o", f"{option}={value}"]
    argv += ["-o", "ControlMaster=no"]
    argv += ["-J", ",".join(earlier)] if earlier else []
    argv += ["-l", user] if user else []
    argv += ["-p", port] if port else []
    quoted = " ".join(_quote(_percent(word)) for word in argv)
    return f"exec {quoted} -W '[%h]:%p' -- {_quote(_percent(name))}"


_PLACE = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d+))?")


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _log(identity: Identity, folder: str) -> str:
    return os.path.join(folder, f"log.{identity.key}")


def _read(log: str) -> str:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except FileNotFoundError:
        return ""


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _record_path(identity: Identity, folder: str) -> str:
    return os.path.join(folder, f"master.{identity.key}")


def _record(identity: Identity, folder: str, pid: int) -> None:
    """Write down which process owns the connection, for who cleans up later."""
    path = _record_path(identity, folder)
    text = json.dumps([pid, process.start_of(pid) or "", time.time(), identity.host])
    with open(f"{path}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def _recorded(identity: Identity, folder: str) -> tuple[int, str, float]:
    try:
        with open(_record_path(identity, folder), encoding="utf-8") as file:
            pid, start, since, _ = json.load(file)
    except (FileNotFoundError, ValueError):
        return 0, "", 0.0
    return int(pid), str(start), float(since)


def state(identity: Identity, door: Door) -> ConnState:
    """Tell whether a master answers, and since when it is there."""
    check_rundir(door.rundir)
    path = identity.socket(door.rundir)
    recorded, _, since = _recorded(identity, door.rundir)
    try:
        live = probe(identity, "auto", door)
    except MuxError:  # it is there and of no use
        return ConnState(False, recorded or None, None, path)
    if live is None:
        return ConnState(False, None, None, path)
    if live.control is not None:
        live.control.close()
    return ConnState(True, live.pid, since if recorded == live.pid else None, path)


def disconnect(
    identity: Identity, settings: Settings, door: Door, *, drain: bool
) -> bool:
    """End the connection; see :func:`sshjobs.transports.disconnect`."""
    check_rundir(door.rundir)
    while True:
        with _gate_if_free(identity, door) as gate:
            if gate is None:
                pause(door.tick)
                continue
            inner = door._replace(tick=_both(gate.beat, door.tick))
            try:
                ended = _end(identity, settings, inner, drain)
                return _clear(identity, door.rundir) or ended
            except GateLost:
                continue


def _end(identity: Identity, settings: Settings, door: Door, drain: bool) -> bool:
    """Have the master end by itself, and wait for that; tell whether there was one."""
    try:
        live = probe(identity, settings.mux, door)
        if live is None:
            return False
        start = process.start_of(live.pid)
        _dismiss(identity, live, door, drain)
    except MuxError:  # it does not answer: it is killed next
        return False
    deadline = time.monotonic() + (settings.command_timeout if drain else 2.0)
    while start is not None and time.monotonic() < deadline:
        if process.start_of(live.pid) != start:
            break
        pause(door.tick)
    return True


def _dismiss(identity: Identity, live: Live, door: Door, drain: bool) -> None:
    if live.control is None:
        order(
            identity,
            identity.socket(door.rundir),
            "stop" if drain else "exit",
            PATIENCE,
        )
        return
    with closing(live.control) as control:
        if drain:
            control.stop_listening()
        else:
            control.terminate()
