"""Making the connection to a host, at a terminal if the host asks something."""

from __future__ import annotations

import os

from .. import transports
from ..errors import TransportError
from ..rounds import remember_failure
from ..rounds.wish import CONNECTING
from ..transports.login_secrets import has_login_secrets
from .context import Context


def connect_host(ctx: Context, host: str) -> transports.ConnState:
    """Make the connection, at a terminal if the host asks something.

    Refusals and a cooldown that are remembered for the host are forgotten.
    """
    with ctx.coordinator(host) as coordinator:
        hooks = coordinator.leadership.build_hooks(interactive=True)
        is_asked = os.isatty(0) and not has_login_secrets(coordinator.settings)
        if not is_asked:  # else ssh has the terminal, and may ask something
            coordinator.site.contact.begin(CONNECTING)
        try:
            transport = transports.open_transport(
                coordinator.identity,
                coordinator.settings,
                hooks,
                interactive=is_asked,
            )
        except TransportError as error:
            remember_failure(coordinator.site, error)
            raise
        transport.close()
        hooks.before_handshake()
        return transports.read_connection_state(coordinator.identity, hooks)
