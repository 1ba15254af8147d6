"""Ways to run one command on a host, and the one place that chooses.

:func:`resolve_host` tells which connection a host name means. :func:`open_transport`
returns a :class:`Transport` over the one live connection of that identity, and makes
it, under the gate, where there is none.
"""

from __future__ import annotations

from ..settings import Settings
from .base import CallerHooks, Completed, ConnState, Sink, StdoutTaker, Transport
from .env import find_program
from .identity.identity import Identity, check_rundir, choose_rundir, local_identity

__all__ = [
    "CallerHooks",
    "Completed",
    "ConnState",
    "Identity",
    "Sink",
    "StdoutTaker",
    "Transport",
    "check_rundir",
    "choose_rundir",
    "digest_credentials",
    "end_connection",
    "ends_with_leader",
    "open_transport",
    "read_connection_state",
    "resolve_host",
]


def resolve_host(host: str, settings: Settings) -> Identity:
    """Return the connection that ``host`` means.

    ``local`` is this machine; ``ssh:NAME`` is NAME, for an alias called ``local``.
    Any other name is resolved by the system's ssh (``ssh -G``, some 12 ms), or
    Fabric where there is no ssh (200 ms): keep the answer for as long as
    :meth:`Identity.is_fresh` says.

    Raises:
        SpecError: no host name, or a configuration that ssh refuses; ssh's own
            words are in the message.
        HostUnreachable: ssh is asked for and is not here, or did not answer in time.
    """
    if host == "local":
        return local_identity()
    if settings.transport == "fabric" or (
        settings.transport == "auto" and not find_program("ssh")
    ):
        from .fabric.config import read_identity

        return read_identity(host, settings)
    from .identity.ssh_config import ask_ssh_for_identity

    return ask_ssh_for_identity(host, settings)


def digest_credentials(identity: Identity, settings: Settings | None = None) -> str:
    """Return a digest of all that a login rests on now.

    These are the keys, the agent, the known hosts, and the password and the passphrase
    that the settings lead to.
    """
    if identity.is_local:
        return ""
    from .identity import credentials
    from .login_secrets import digest_login_secrets

    secrets = "" if settings is None else digest_login_secrets(settings)
    return f"{credentials.digest_credentials(identity)}{secrets}"


def open_transport(
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
        StoreError: ``hooks.rundir`` cannot be used.
    """
    if identity.is_local:
        from .local import Local

        return Local(identity)
    if ends_with_leader(identity, settings):
        from .fabric.session import connect_by_fabric

        return connect_by_fabric(identity, settings, hooks, interactive=interactive)
    from .openssh.session import connect_by_openssh

    return connect_by_openssh(identity, settings, hooks, interactive=interactive)


def ends_with_leader(identity: Identity, settings: Settings) -> bool:
    """Tell whether a connection is its maker's alone: ssh is not here, or not to be.

    Nobody can ride on it, and its maker holds the gate for as long as it is there.
    """
    if identity.is_local:
        return False
    if settings.transport == "auto":
        return not identity.ssh
    return settings.transport == "fabric"


def end_connection(
    identity: Identity, settings: Settings, hooks: CallerHooks, *, drain: bool = True
) -> bool:
    """End the connection of ``identity``; tell whether there was one.

    One that ends with its leader is left to that.

    Args:
        drain: Let running sessions come to their end, for ``command_timeout`` at most.
    """
    if identity.is_local:
        return False
    from .openssh import shutdown

    wait = not ends_with_leader(identity, settings)
    return shutdown.end_connection(identity, settings, hooks, drain=drain, wait=wait)


def read_connection_state(identity: Identity, hooks: CallerHooks) -> ConnState:
    """Tell whether a connection of ``identity`` is alive; the host is not touched."""
    if identity.is_local:
        return ConnState(True, None, None, "")
    from .openssh.master import read_master_state

    return read_master_state(identity, hooks)
