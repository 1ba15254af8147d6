"""Makes a connection: one handshake at a time, under the gate, and verified."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import HostUnreachable, Throttled
from ..settings import Settings
from . import process
from .base import Door
from .causes import diagnose, words
from .ending import clear, log_path
from .env import ssh_env
from .gate import Gate, GateLost, hop, passage, pause, unlink
from .identity import Identity
from .master import Live, look, record

#: Unanswered probes (ServerAliveInterval) that end a connection.
_PROBES = 3

#: A person who types a password; sshd itself gives 120 s (LoginGraceTime).
_TYPING = 180.0

_ORPHAN = "already exists, disabling multiplexing"


def make(
    identity: Identity, settings: Settings, door: Door, *, interactive: bool
) -> Live:
    """Wait for the gate, look again, and make the connection if it is still missing.

    Raises:
        TransportError: there is none, and none can be made now.
    """
    while True:
        with passage(door, identity.key) as held:
            try:
                if held is not None:
                    return _make(identity, settings, held[1], held[0], interactive)
            except GateLost:
                continue
        pause(door.tick)
        live = look(identity, settings, door)
        if live is not None:
            return live


def _make(
    identity: Identity, settings: Settings, door: Door, gate: Gate, interactive: bool
) -> Live:
    live = look(identity, settings, door)
    if live is not None:
        return live
    clear(identity, door.rundir)
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
    record(identity, door.rundir, live.pid)
    return live


def _verify(identity: Identity, settings: Settings, door: Door, text: str) -> Live:
    """Return the master that answers at our socket, and end one that does not."""
    live = look(identity, settings, door)
    if live is not None and _ORPHAN not in text:
        return live
    for pid, start in process.carriers(log_path(identity, door.rundir)):
        if live is None or pid != live.pid:
            process.end(pid, start)
    if live is not None:
        return live
    raise HostUnreachable(
        identity.host,
        f"the connection ended right after the login: {words(text)}; nothing ran there",
        "see the server's log; sshd_config UnusedConnectionTimeout does that too",
    )


def _handshake(
    identity: Identity, settings: Settings, door: Door, gate: Gate, interactive: bool
) -> tuple[int, str]:
    """Run ssh until it has authenticated or failed; return its status and its words."""
    log = log_path(identity, door.rundir)
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
    unlink(log)
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
    log = log_path(identity, folder)
    ours = _common(settings, interactive) | {
        "ControlMaster": "yes",
        "ControlPath": _word(_percent(identity.socket(folder))),
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


def _word(text: str) -> str:
    """Return ``text`` as one word of a configuration line (readconf.c, 9.2)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


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
    return f"{quoted} -W '[%h]:%p' -- {_quote(_percent(name))}"


_PLACE = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d+))?")


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _read(log: str) -> str:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except FileNotFoundError:
        return ""
