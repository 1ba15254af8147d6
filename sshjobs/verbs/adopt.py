"""Taking up jobs that stand on a host and are not in the record."""

from __future__ import annotations

from .. import errors, protocol, states
from ..model import Job
from ..rounds import Coordinator, RoundWish
from ..rounds.needs import require_fresh_round
from ..startup.records import TYPE_CHECKING
from ..store import slices
from .context import Context
from .fanout import HostResults, Show
from .selection import Criteria

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def adopt_jobs(
    ctx: Context, criteria: Criteria | Sequence[str], show: Show | None
) -> HostResults:
    """Take up the jobs that stand on a host and are not in the store.

    Raises:
        SpecError: the criteria are more, or less, than the name of a host.
    """
    is_host = isinstance(criteria, Criteria) and criteria.is_open
    if not isinstance(criteria, Criteria) or not is_host or len(criteria.hosts) != 1:
        raise errors.SpecError("--adopt goes with --host, one, and with no JOB")
    results = HostResults(show)
    with ctx.coordinator(criteria.hosts[0]) as coordinator:
        ids, results.notes = adopt_listed_jobs(coordinator, lambda listed: True)
        results.take_from_record(ctx.store, ids)
    return results


def adopt_listed_jobs(
    coordinator: Coordinator, wanted: Callable[[protocol.Listed], bool]
) -> tuple[list[str], list[str]]:
    """Give the store a row for each wanted directory that it does not know.

    Returns:
        The ids of those jobs, and remarks on odd entries.
    """
    listed = list_directories(coordinator)
    new = [fact for fact in select_unknown_jobs(coordinator, listed) if wanted(fact)]
    now = coordinator.clock()
    with coordinator.store.begin_write():
        coordinator.store.jobs.add_jobs(
            build_adopted_job(coordinator, fact, now) for fact in new
        )
    coordinator.wait_for(require_fresh_round(coordinator.site, coordinator.clock()))
    return [fact.job_id for fact in new], describe_odd_entries(coordinator, listed)


def select_unknown_jobs(
    coordinator: Coordinator, listed: list[protocol.Event]
) -> list[protocol.Listed]:
    """Return the directories of a listing that the store does not know."""
    found = [fact for fact in listed if isinstance(fact, protocol.Listed)]
    known = {
        job_id
        for some in slices(found)
        for job_id in coordinator.store.jobs.find_jobs(fact.job_id for fact in some)
    }
    return [fact for fact in found if fact.job_id not in known]


def describe_odd_entries(
    coordinator: Coordinator, listed: list[protocol.Event]
) -> list[str]:
    """Return a remark on each entry that is no job of ours."""
    return [
        f"{coordinator.identity.host}: {fact.entry}: {fact.reason}; left as it is"
        for fact in listed
        if isinstance(fact, protocol.ListedOdd)
    ]


def list_directories(coordinator: Coordinator) -> list[protocol.Event]:
    """Have one round, led by this process, list the job directories of the host."""
    wish = RoundWish(listing=True)
    return coordinator.wait_for(lambda: None, wish=wish).listed or []


def build_adopted_job(
    coordinator: Coordinator, fact: protocol.Listed, now: float
) -> Job:
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
        stderr_bytes=fact.stderr_bytes,
    )
