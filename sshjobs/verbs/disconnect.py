"""Ending the connection to a host."""

from __future__ import annotations

from .. import transports
from ..rounds.wish import ENDING
from .context import Context


def disconnect_host(ctx: Context, host: str) -> bool:
    """End the connection once its commands have ended; tell whether there was one.

    After return no process, socket or lock of it is left.
    """
    with ctx.coordinator(host) as coordinator:
        coordinator.site.contact.begin(ENDING)
        was = transports.end_connection(
            coordinator.identity,
            coordinator.settings,
            coordinator.leadership.build_hooks(),
        )
        coordinator.leadership.remove_lock_files()
        return was
