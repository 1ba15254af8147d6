"""Asking the hosts once how jobs do."""

from __future__ import annotations

from ..rounds.needs import require_fresh_round
from ..startup.records import TYPE_CHECKING
from .context import Context
from .fanout import HostResults, Show, ask_all_hosts
from .selection import Criteria, select_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence


def poll_jobs(
    ctx: Context,
    criteria: Criteria | Sequence[str] = (),
    *,
    adopt: bool = False,
    sensor: bool = False,
    show: Show | None = None,
) -> HostResults:
    """Ask each host once, and return the jobs as they are.

    Args:
        criteria: The jobs that are meant, or their ids; empty: all that are active.
        adopt: Take up jobs on the host of ``criteria`` that the store does not know.
        sensor: Be content with a round that began ``poll_interval`` ago.
        show: Takes the jobs of each host when that host has answered, some at a
            time; they are not kept then.
    """
    if adopt:
        from .adopt import adopt_jobs

        return adopt_jobs(ctx, criteria, show)
    jobs = select_jobs(ctx, criteria)

    def ask_there(own: Context, site_id: str) -> None:
        if site_id in jobs.active:
            with own.coordinator_at(site_id) as coordinator:
                age = coordinator.settings.poll_interval if sensor else 0.0
                coordinator.wait_for(
                    require_fresh_round(coordinator.site, coordinator.clock() - age)
                )

    if ctx.store.intents.has_held():
        from .tend import ask_and_send

        age = ctx.settings("").poll_interval if sensor else 0.0
        return ask_and_send(ctx, jobs, ask_there, show, age)
    return ask_all_hosts(ctx, jobs, ask_there, show)
