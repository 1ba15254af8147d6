"""Asking how jobs do: once, or until they have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .. import errors, protocol, states
from ..model import Job
from ..rounds import Coordinator, cause_of
from ..store import slices
from .context import Context
from .selection import HostResults, Show, UnfinishedJobs, ask_all, select_jobs


def poll_jobs(
    ctx: Context,
    names: Sequence[str] = (),
    *,
    host: str | None = None,
    key: str | None = None,
    adopt: bool = False,
    sensor: bool = False,
    show: Show | None = None,
) -> HostResults:
    """Ask each host once, and return the jobs as they are.

    Args:
        names: Ids, prefixes or ``key:K``; empty: all that are active.
        adopt: Take up jobs on ``host`` that the store does not know.
        sensor: Be content with a round that began ``poll_interval`` ago.
        show: Takes the jobs of each host when that host has answered, some at a
            time; they are not kept then.
    """
    if adopt:
        return _adopt(ctx, host, show)
    jobs = select_jobs(ctx, names, host, key)

    def ask(own: Context, site_id: str) -> None:
        if site_id in jobs.active:
            with own.coordinator_at(site_id) as coordinator:
                age = coordinator.settings.poll_interval if sensor else 0.0
                coordinator.wait_for(coordinator.fresh(coordinator.clock() - age))

    return ask_all(ctx, jobs, ask, show)


def wait_for_jobs(
    ctx: Context,
    names: Sequence[str] = (),
    *,
    host: str | None = None,
    timeout: float | None = None,
    show: Show | None = None,
) -> HostResults:
    """Wait until jobs have ended.

    Args:
        names: Ids, prefixes or ``key:K``; empty: all that are active.
        timeout: Seconds; the jobs are not touched when they pass.
        show: Takes the jobs of each host when those of that host have ended, some at
            a time; they are not kept then.
    """
    jobs = select_jobs(ctx, names, host, None)
    until = None if timeout is None else time.monotonic() + timeout
    notes: list[str] = []  # why a host has not been asked of late

    def work(own: Context, site_id: str) -> None:
        if site_id in jobs.active:
            pending = UnfinishedJobs(own.store, jobs.active[site_id])
            with own.coordinator_at(site_id) as coordinator:
                need = coordinator.paced(pending.any)
                row = (
                    None
                    if coordinator.wait_for(need, until=until)
                    else coordinator.row()
                )
                if row is not None and row.cause:
                    notes.append(str(cause_of(row)))

    answer = ask_all(ctx, jobs, work, show)
    answer.notes.extend(notes)
    return answer


def _adopt(ctx: Context, host: str | None, show: Show | None) -> HostResults:
    """Take up what stands on a host and is not in the store."""
    if not host:
        raise errors.SpecError("--adopt goes with --host")
    answer = HostResults(show)
    with ctx.coordinator(host) as coordinator:
        ids, answer.notes = take_up(coordinator, lambda listed: True)
        answer.take(ctx.store, ids)
    return answer


def take_up(
    coordinator: Coordinator, wanted: Callable[[protocol.Listed], bool]
) -> tuple[list[str], list[str]]:
    """Give the store a row for each wanted directory that it does not know.

    Returns:
        The ids of those jobs, and what else there is to say.
    """
    listed = listing(coordinator)
    new = [fact for fact in unknown(coordinator, listed) if wanted(fact)]
    now = coordinator.clock()
    with coordinator.store.write():
        coordinator.store.add_jobs(adopted(coordinator, fact, now) for fact in new)
    coordinator.wait_for(coordinator.fresh(coordinator.clock()))
    return [fact.job_id for fact in new], oddities(coordinator, listed)


def unknown(
    coordinator: Coordinator, listed: list[protocol.Event]
) -> list[protocol.Listed]:
    """Return the directories of a listing that the store does not know."""
    found = [fact for fact in listed if isinstance(fact, protocol.Listed)]
    known = {
        job_id
        for some in slices(found)
        for job_id in coordinator.store.jobs(fact.job_id for fact in some)
    }
    return [fact for fact in found if fact.job_id not in known]


def oddities(coordinator: Coordinator, listed: list[protocol.Event]) -> list[str]:
    """Return what to say of entries that are no jobs of ours."""
    return [
        f"{coordinator.identity.host}: {fact.entry}: {fact.reason}; left as it is"
        for fact in listed
        if isinstance(fact, protocol.ListedOdd)
    ]


def listing(coordinator: Coordinator) -> list[protocol.Event]:
    """Have one round, led by this process, list what stands on the host."""
    coordinator.listing, coordinator.listed = True, None

    def need() -> float | None:
        return 0.0 if coordinator.listed is None else None

    try:
        coordinator.wait_for(need)
    finally:
        coordinator.listing = False
    return coordinator.listed or []


def adopted(coordinator: Coordinator, fact: protocol.Listed, now: float) -> Job:
    """Return the row of a job that was found on a host."""
    return Job(
        id=fact.job_id,
        host=coordinator.identity.host,
        site_id=coordinator.site_id,
        state=states.PENDING,
        key=fact.key,
        name=fact.name,
        digest=fact.digest,
        submitted_at=now - max(0.0, fact.age),
    )
