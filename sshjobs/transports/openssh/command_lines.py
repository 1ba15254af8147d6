"""The command lines of every ssh that dials: a connection's, and its jump hosts'."""

from __future__ import annotations

import math

from ...host_names import check_hop
from ...quoting import escape_percent, quote_for_config, quote_text
from ...settings import Settings
from ..identity.identity import Identity

#: What ssh says more of a login than at VERBOSE: that the host took the key, and what
#: it said in place of its greeting (LogVerbose, since 8.5). No session adds a line.
_STAGES = "*:input_userauth_pk_ok():*,*:kex_exchange_identification():*"

#: Unanswered probes (ServerAliveInterval) that end a connection.
_PROBES = 3


def build_master_argv(
    identity: Identity,
    settings: Settings,
    socket: str,
    log: str,
    *,
    interactive: bool = False,
    asking: tuple[tuple[str, str], ...] = (),
) -> list[str]:
    """Return the command that makes the connection.

    ``asking`` are options with which its ssh, and no jump host's, asks for a secret.

    The command line beats ssh_config, which may say anything:
    RemoteCommand, LocalCommand, forwardings, a ControlPath of its own.
    """
    ours = _common_options(identity, settings, interactive, identity.times)
    ours |= dict(asking) | {
        "ControlMaster": "yes",
        "ControlPath": quote_for_config(escape_percent(socket)),
        "ControlPersist": str(math.ceil(settings.persist)),
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ForwardX11": "no",
        "Tunnel": "no",
    }
    if identity.ciphers:
        ours["Ciphers"] = identity.ciphers
    # An unknown option ends ssh before it connects: each goes to a client that has it.
    if identity.version >= (7, 6):
        ours["RemoteCommand"] = "none"
    # ProxyJump of the configuration would start an ssh that asks, see below.
    if identity.jump:
        ours["ProxyCommand"] = build_jump_command(identity, settings, log, interactive)
    argv = [identity.ssh, *_name_config(identity), "-N", "-f", "-T", "-E", log]
    for name, value in ours.items():
        argv += ["-o", f"{name}={value}"]
    # After ours: the first value that ssh is told is the one that counts.
    for option in identity.options:
        argv += ["-o", option]
    return [*argv, "--", identity.target]


def choose_connect_seconds(settings: Settings, configured: int) -> float:
    """Return how long a connection may take: ssh_config beats a default of ours.

    Args:
        configured: ConnectTimeout of the configuration, 0 if it says nothing.
    """
    if configured and "conn_timeout" not in settings.given:
        return configured
    return settings.conn_timeout


def _common_options(
    identity: Identity,
    settings: Settings,
    interactive: bool,
    times: tuple[int, int, int, int],
) -> dict[str, str]:
    """Return the options of every ssh that dials.

    ConnectTimeout bounds the connection and the greeting. A server that greets and
    goes silent is ended by ServerAlive*, which count from there (9.2, ssh.c).

    Args:
        times: See :attr:`.Identity.times`.
    """
    connect, _, interval, count = times
    # Keepalives of ssh_config beat our default; a setting that is given beats both.
    if not interval or "keepalive_interval" in settings.given:
        interval, count = math.ceil(settings.keepalive_interval), _PROBES
    stages = {"LogVerbose": _STAGES} if identity.version >= (8, 5) else {}
    return stages | {
        "BatchMode": "no" if interactive else "yes",
        "ConnectTimeout": str(
            math.ceil(choose_connect_seconds(settings, connect)) or 1
        ),
        "ConnectionAttempts": "1",
        "ServerAliveInterval": str(interval),
        "ServerAliveCountMax": str(count or _PROBES),
        "LogLevel": "VERBOSE",
    }


def _name_config(identity: Identity) -> list[str]:
    return ["-F", identity.config] if identity.config else []


def build_jump_command(
    identity: Identity, settings: Settings, log: str, interactive: bool
) -> str:
    """Return the command that ssh makes of ProxyJump; it keeps a log and asks nobody.

    The command that ssh itself makes (``ssh -W '[%h]:%p' HOP``) is not told
    BatchMode, and its stderr goes to /dev/null with ControlPersist (since 8.0).
    """
    *earlier, last = identity.jump.split(",")
    hop = check_hop(last)
    argv = [identity.ssh, *_name_config(identity), "-E", log]
    times = (identity.times[1], 0, *identity.times[2:])
    for option, value in _common_options(
        identity, settings, interactive, times
    ).items():
        argv += ["-o", f"{option}={value}"]
    # A master of the user's own for the jump host may be used, and none is made.
    argv += ["-o", "ControlMaster=no"]
    argv += ["-J", ",".join(earlier)] if earlier else []
    argv += ["-l", hop.user] if hop.user else []
    argv += ["-p", str(hop.port)] if hop.port else []
    quoted = " ".join(quote_text(escape_percent(word)) for word in argv)
    return f"{quoted} -W '[%h]:%p' -- {quote_text(escape_percent(hop.name))}"


def build_rider_argv(
    identity: Identity, socket: str, log: str, options: list[str]
) -> list[str]:
    """Return the ssh of somebody who rides along, up to the host.

    A mux client that finds no master or no free session dials by itself (OpenSSH 5.4 to
    10.5, ssh.c); a proxy that always fails leaves it only the socket. The first value
    that ssh is told counts, so that no option of the caller's undoes that.
    """
    path = quote_for_config(escape_percent(socket))
    argv = [identity.ssh, *_name_config(identity), "-E", log]
    for option in ("ControlMaster=no", "ProxyCommand=false", f"ControlPath={path}"):
        argv += ["-o", option]
    return [*argv, *options, "--"]
