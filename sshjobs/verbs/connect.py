"""The record of this machine, and its connections."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from .. import transports
from ..errors import SshJobsError, TransportError
from ..model import Job
from ..rounds import remember_failure
from ..startup.records import Record
from ..store import SiteRow
from .context import Context
from .selection import sites_of


def select_recorded_jobs(
    ctx: Context, *, host: str | None = None, state: str | None = None
) -> Iterator[Job]:
    """Yield the jobs of the record, oldest first; no host is asked."""
    sites = None if host is None else sites_of(ctx, host)
    for job in ctx.store.select(states=(state,) if state else ()):
        if sites is None or job.site_id in sites:
            yield job


def connect_host(ctx: Context, host: str) -> transports.ConnState:
    """Make the connection, at a terminal if the host asks something.

    Refusals and a cooldown that are remembered for the host are forgotten.
    """
    with ctx.coordinator(host) as coordinator:
        hooks = coordinator.hooks(interactive=True)
        try:
            transport = transports.open_transport(
                coordinator.identity,
                coordinator.settings,
                hooks,
                interactive=os.isatty(0),
            )
        except TransportError as error:
            remember_failure(coordinator, error)
            raise
        transport.close()
        hooks.before_handshake()
        return transports.read_connection_state(coordinator.identity, hooks)


def disconnect_host(ctx: Context, host: str) -> bool:
    """End the connection once its commands have ended; tell whether there was one.

    After return no process, socket or lock of it is left.
    """
    with ctx.coordinator(host) as coordinator:
        was = transports.end_connection(
            coordinator.identity, coordinator.settings, coordinator.hooks()
        )
        coordinator.clear()
        return was


class HostState(Record):
    """A host's ledger, and its connection as it is now.

    ``refused`` is why the credentials of now are not tried again, "" if they are.
    """

    row: SiteRow
    connection: transports.ConnState | None
    refused: str = ""


#: A host that never answered is forgotten after so many seconds.
_FORGOTTEN = 3600.0


def list_hosts(ctx: Context) -> list[HostState]:
    """Return all hosts of the record; none is asked.

    One that never answered, and of which nothing is wanted any more, is dropped.
    """
    found = []
    before = time.time() - _FORGOTTEN
    for row in ctx.store.hosts():
        state = _state(ctx, row)
        alive = state.connection is not None and state.connection.alive
        if (
            row.round_ended_at
            or alive
            or not ctx.store.forget_host(row.site_id, before)
        ):
            found.append(state)
    return found


def _state(ctx: Context, row: SiteRow) -> HostState:
    try:
        with ctx.coordinator_at(row.site_id) as coordinator:
            refused = coordinator.refused(row) if row.refused != "{}" else None
            state = transports.read_connection_state(
                coordinator.identity, coordinator.hooks()
            )
            return HostState(row, state, str(refused or ""))
    except SshJobsError:
        return HostState(row, None)
