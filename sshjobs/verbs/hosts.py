"""The hosts of the record, and their connections as they are now."""

from __future__ import annotations

import time

from .. import transports
from ..errors import SshJobsError
from ..startup.records import Record
from ..store import SiteRow
from .context import Context


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
    for row in ctx.store.sites.list_sites():
        state = _read_host_state(ctx, row)
        alive = state.connection is not None and state.connection.alive
        if (
            row.round_ended_at
            or alive
            or not ctx.store.sites.forget_site(row.site_id, before)
        ):
            found.append(state)
    return found


def _read_host_state(ctx: Context, row: SiteRow) -> HostState:
    try:
        with ctx.coordinator_at(row.site_id) as coordinator:
            refused = (
                coordinator.leadership.find_refusal(row)
                if row.refused != "{}"
                else None
            )
            state = transports.read_connection_state(
                coordinator.identity, coordinator.leadership.build_hooks()
            )
            return HostState(row, state, str(refused or ""))
    except SshJobsError:
        return HostState(row, None)
