"""Asking hosts how they and their jobs do, within a bound."""

from __future__ import annotations

import time

from ..errors import CommandTimeout, SshJobsError
from ..rounds.needs import require_fresh_round
from .context import Context
from .fanout import work_side_by_side
from .selection import Criteria, find_site_ids, select_jobs


def ask_hosts(ctx: Context, criteria: Criteria, bound: float) -> list[SshJobsError]:
    """Have a round with each host, side by side; return why some did not answer.

    These are the hosts that are named, else those of active jobs that are meant.

    Args:
        bound: No host is waited for longer than so many seconds.
    """
    brief = {"wait_host": bound, "conn_timeout": bound}
    ctx = ctx.open_for_thread(**brief)  # whose waits are told like those of a thread
    if criteria.hosts:
        site_ids = [
            site for name in criteria.hosts for site in find_site_ids(ctx, name)
        ]
    else:
        wanted = criteria._replace(allow_empty=True)
        site_ids = list(select_jobs(ctx, wanted).active)
    names = {row.site_id: row.host for row in ctx.store.sites.list_sites()}
    until = time.monotonic() + bound

    def ask_there(own: Context, site_id: str) -> bool:
        with own.coordinator_at(site_id) as coordinator:
            need = require_fresh_round(coordinator.site, coordinator.clock())
            return coordinator.wait_for(need, until=until).is_met

    answers = dict(work_side_by_side(ctx, site_ids, ask_there, until=until + 0.5))
    ctx.close()
    errors = []
    for site_id in site_ids:
        answer = answers.get(site_id, False)
        if isinstance(answer, SshJobsError):
            errors.append(answer)
        elif not answer:
            late = CommandTimeout(names[site_id], f"no answer within {bound:g} s")
            errors.append(late)
    return errors
