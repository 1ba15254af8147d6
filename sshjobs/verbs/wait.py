"""Waiting until jobs have ended."""

from __future__ import annotations

import time

from ..rounds import RoundWish, cause_of
from ..rounds.needs import require_paced_rounds
from ..startup.records import TYPE_CHECKING
from .context import Context
from .fanout import HostResults, Show, ask_all_hosts
from .selection import Criteria, UnfinishedJobs, select_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence


def wait_for_jobs(
    ctx: Context,
    criteria: Criteria | Sequence[str] = (),
    *,
    timeout: float | None = None,
    show: Show | None = None,
) -> HostResults:
    """Wait until jobs have ended.

    Args:
        criteria: The jobs that are meant, or their ids; empty: all that are active.
        timeout: Seconds; the jobs are not touched when they pass.
        show: Takes the jobs of each host when those of that host have ended, some at
            a time; they are not kept then.
    """
    jobs = select_jobs(ctx, criteria)
    until = None if timeout is None else time.monotonic() + timeout
    notes: list[str] = []  # why a host has not been asked of late

    def wait_there(own: Context, site_id: str) -> None:
        if site_id in jobs.active:
            pending = UnfinishedJobs(own.store, jobs.active[site_id])
            with own.coordinator_at(site_id) as coordinator:
                wish = RoundWish(waits_for_end=True)
                need = require_paced_rounds(coordinator.site, pending.any)
                row = (
                    None
                    if coordinator.wait_for(need, until=until, wish=wish).is_met
                    else coordinator.site.row()
                )
                if row is not None and row.cause:
                    notes.append(str(cause_of(row)))

    results = ask_all_hosts(ctx, jobs, wait_there, show)
    results.notes.extend(notes)
    return results
