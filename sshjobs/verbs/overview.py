"""What runs and what ended lately, as the record has it; no host is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..errors import NothingSelected, SshJobsError
from ..model import Job
from ..startup.records import Record
from ..store import SiteRow, queries
from .context import Context
from .selection import Criteria, read_criteria, select_jobs

#: Jobs that ended so many seconds ago are still of interest.
LATELY = 86400.0

#: What jobs may be sorted by: an expression of SQL each; the largest comes last.
ORDERS = {
    "age": "submitted_at",
    "name": queries.LABEL,
    "host": "host",
    "state": "state",
    "time": "coalesce(finished_at, {now!r}) - coalesce(started_at, {now!r})",
    "end": "coalesce(finished_at, {now!r})",
}


class View(Record):
    """Which part of the jobs that are meant is shown, and how.

    ``limit`` 0 is no limit. Reaped jobs are shown if the call names any condition.
    """

    order: str = "age"
    limit: int = 0
    with_reaped: bool = False
    lately_only: bool = False  # what is active or ended within LATELY, if all are meant


class Overview(Record):
    """Jobs as they are known, in the order of a view, and their hosts."""

    jobs: list[Job]
    older: int  # jobs that are meant and beyond the limit
    sites: dict[str, SiteRow]
    counts: dict[str, int]  # active jobs, and those that ended today, by state
    errors: list[SshJobsError]  # of hosts that were asked and did not answer
    now: float


def read_overview(
    ctx: Context, criteria: Criteria, view: View, errors: Sequence[SshJobsError] = ()
) -> Overview:
    """Return the jobs that are meant as the record has them.

    Raises:
        JobNotFound, NothingSelected, SpecError: see :func:`.selection.select_jobs`.
    """
    now = time.time()
    condition = read_criteria(ctx, criteria, now)
    if criteria.jobs:
        found = select_jobs(ctx, criteria, every_attempt=True)
        ids = [job_id for some in found.every.values() for job_id in some]
        condition &= queries.is_one_of("id", ids)
    elif criteria.is_open and view.lately_only:
        condition &= queries.was_active_since(now - LATELY)
    if criteria.is_open and not view.with_reaped:
        condition &= queries.IS_NOT_REAPED
    order = ORDERS[view.order].format(now=now)
    order = f"({order}) DESC, submitted_at DESC, id DESC LIMIT {view.limit or -1}"
    jobs = list(ctx.store.queries.search_jobs(condition, order))[::-1]
    if not (jobs or criteria.is_open or criteria.allow_empty):
        raise NothingSelected(str(criteria))
    # Jobs of these hosts that are active, or have ended today.
    where = criteria._replace(jobs=(), names=(), keys=(), states=(), since="")
    midnight = time.mktime((*time.localtime(now)[:3], 0, 0, 0, 0, 0, -1))
    today = read_criteria(ctx, where, now) & queries.was_active_since(midnight)
    return Overview(
        jobs,
        ctx.store.queries.count_jobs(condition) - len(jobs) if view.limit else 0,
        {row.site_id: row for row in ctx.store.sites.list_sites()},
        ctx.store.queries.count_states(today),
        list(errors),
        now,
    )
