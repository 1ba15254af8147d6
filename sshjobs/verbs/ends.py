"""The ends of jobs, one by one as they become known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..model import Job
from ..rounds import RoundWish
from ..rounds.needs import require_paced_rounds
from ..store import Store
from .context import Context
from .tend import rest_while_held, tend_held


def yield_ends(
    ctx: Context,
    site_id: str,
    ids: Iterable[str],
    *,
    until: float | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[str]:
    """Yield the jobs of one connection as they end; those that have ended come first.

    Jobs whose ends became known at once come in the order in which they ended. A job
    that is no longer in the record counts as ended.

    Args:
        until: Stop at this instant of the monotonic clock.
        is_stopped: Tells that nobody waits any more.
    """
    active = list(dict.fromkeys(ids))
    ended: list[str] = []

    def has_none_ended() -> bool:
        """Tell whether none of them has ended yet."""
        nonlocal ended
        ended = [] if is_stopped() else _find_ended(store, active)
        return not (ended or is_stopped())

    with tend_held(ctx, active), ctx.coordinator_at(site_id) as coordinator:
        store = coordinator.store
        need = require_paced_rounds(coordinator.site, has_none_ended)
        need = rest_while_held(coordinator.site, active, need)
        wish = RoundWish(waits_for_end=True)
        while active and not is_stopped():
            if not coordinator.wait_for(need, until=until, wish=wish).is_met:
                return
            yield from ended
            gone = set(ended)
            active = [job_id for job_id in active if job_id not in gone]


def _find_ended(store: Store, ids: list[str]) -> list[str]:
    active = store.jobs.filter_active(ids)
    ended = [job_id for job_id in ids if job_id not in active]
    if len(ended) < 2:
        return ended
    known = store.jobs.find_jobs(ended)

    def find_end(job_id: str) -> float:
        job: Job | None = known.get(job_id)
        return (job.finished_at or 0.0) if job is not None else 0.0

    return sorted(ended, key=find_end)
