"""Ways to run one command on a host, and the one place that chooses.

:func:`resolve` tells which connection a host name means, :func:`connect` returns
a :class:`Transport` over the one live connection of that identity and makes it,
under the gate, where there is none.
"""

from __future__ import annotations

from ..settings import Settings
from .base import CallerHooks, Completed, ConnState, Sink, StdoutFile, Transport
from .identity.identity import Identity, check_rundir, local_identity, rundir
from .process import which

__all__ = [
    "Completed",
    "ConnState",
    "CallerHooks",
    "StdoutFile",
    "Identity",
    "Sink",
    "Transport",
    "check_rundir",
    "connect",
    "credentials",
    "disconnect",
    "ends_with_leader",
    "resolve",
    "rundir",
    "state",
]


def resolve(host: str, settings: Settings) -> Identity:
    """Return the connection that ``host`` means.

    ``local`` is this machine; ``ssh:NAME`` is NAME, for an alias called ``local``.
    Anything else is what the system's ssh makes of it (``ssh -G``, some 12 ms), or
    Fabric where there is no ssh (200 ms): keep the answer for as long as
    :meth:`Identity.fresh` says.

    Raises:
        SpecError: no host name, or a configuration that ssh refuses; ssh's own
            words are in the message.
        HostUnreachable: ssh is asked for and is not here, or did not answer in time.
    """
    if host == "local":
        return local_identity()
    if settings.transport == "fabric" or (
        settings.transport == "auto" and not which("ssh")
    ):
        from .fabric.config import resolve as read_config

        return read_config(host, settings)
    from .identity.ssh_config import resolve as ask_ssh

    return ask_ssh(host, settings)


def credentials(identity: Identity) -> str:
    """Return a digest of what a login would use now: keys, agent, known hosts."""
    if identity.is_local:
        return ""
    from .identity.credentials import credentials as look_at_keys

    return look_at_keys(identity)


def connect(
    identity: Identity,
    settings: Settings,
    hooks: CallerHooks,
    *,
    interactive: bool = False,
) -> Transport:
    """Return a transport over the one live connection of ``identity``.

    After return, exactly one connection of this identity is alive on this machine.
    After an error, no process that was started here remains.

    Args:
        interactive: ssh may ask a person at the terminal (password, host key).

    Raises:
        HostUnreachable: no connection; nothing ran.
        Throttled: the host closed the door before authentication.
        AuthenticationError: the key or the host key was refused.
        SpecError: a person is to be asked, and there is no ssh to do it.
        StoreError: ``door.rundir`` cannot be used.
    """
    if identity.is_local:
        from .local import Local

        return Local(identity)
    if ends_with_leader(identity, settings):
        from .fabric.session import connect as connect_fabric

        return connect_fabric(identity, settings, hooks, interactive=interactive)
    from .openssh.session import connect as connect_openssh

    return connect_openssh(identity, settings, hooks, interactive=interactive)


def ends_with_leader(identity: Identity, settings: Settings) -> bool:
    """Tell whether a connection is its maker's alone: ssh is not here, or not to be.

    Nobody can ride on it, and its maker holds the gate for as long as it is there.
    """
    if identity.is_local:
        return False
    if settings.transport == "auto":
        return not identity.ssh
    return settings.transport == "fabric"


def disconnect(
    identity: Identity, settings: Settings, hooks: CallerHooks, *, drain: bool = True
) -> bool:
    """End the connection of ``identity``; tell whether there was one.

    One that ends with its leader is left to that.

    Args:
        drain: Let running sessions come to their end, for ``command_timeout`` at most.
    """
    if identity.is_local:
        return False
    from .openssh.shutdown import disconnect as end_connection

    wait = not ends_with_leader(identity, settings)
    return end_connection(identity, settings, hooks, drain=drain, wait=wait)


def state(identity: Identity, hooks: CallerHooks) -> ConnState:
    """Tell whether a connection of ``identity`` is alive; the host is not touched."""
    if identity.is_local:
        return ConnState(True, None, None, "")
    from .openssh.master import state as master_state

    return master_state(identity, hooks)
