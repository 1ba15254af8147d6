"""Ending jobs with their whole trees."""

from __future__ import annotations

import time

from .. import errors, states
from ..errors import NotYet, SshJobsError, StoreError
from ..model import Job
from ..rounds import Coordinator, RoundWish
from ..rounds.log_state import runs_elsewhere
from ..rounds.needs import require_intents_served, require_paced_rounds
from ..startup.records import TYPE_CHECKING
from ..store import FAILED
from .context import Context
from .fanout import HostResults, Show, ask_all_hosts
from .selection import Criteria, Selection, UnfinishedJobs, select_jobs
from .withdraw import settle_others

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias


#: After the grace, how long ``kill`` waits for the end to be known.
KILL_BOUND = 60.0

#: How many of the jobs that are to end are shown before.
_SHOWN = 20

#: Takes the first of the jobs that are to end, and how many they are; raises to refuse.
Confirm: TypeAlias = "Callable[[Sequence[Job], int], None]"


def kill_jobs(
    ctx: Context,
    criteria: Criteria | Sequence[str],
    *,
    show: Show | None = None,
    keep: bool = False,
    forget: bool = False,
    confirm: Confirm | None = None,
    until_told: bool = False,
) -> HostResults:
    """End jobs with their whole trees, and return how each ended.

    A job that was not yet sent is CANCELLED here and never sent. One that had
    ended keeps its own state; it is returned only if the call named it by its id.

    Args:
        criteria: The jobs that are meant, or their ids; empty: none.
        show: Takes the jobs of each host when that host is done.
        keep: Leave the intent in the store where a host cannot be asked now.
        forget: Declare jobs LOST that nobody can see, since they are known to be
            gone, and end none that runs.
        confirm: Is called before several jobs end that were not named by their ids.
        until_told: Return once the host has been told, not once they have ended.

    Raises:
        NotYet: they were told to end and have not ended within the bound.
    """
    notes: list[str] = []
    jobs = _choose_jobs_to_end(ctx, criteria, confirm, notes)
    refused: list[SshJobsError] = []

    def kill_there(own: Context, site_id: str) -> None:
        if site_id in jobs.active:
            with own.coordinator_at(site_id) as coordinator:
                if forget:
                    _forget_on_site(coordinator, jobs.active[site_id], notes, refused)
                else:
                    near = _tell_to_end(
                        coordinator, jobs.active[site_id], keep, ctx.sent_ids
                    )
                    if not until_told:
                        _wait_for_ends(coordinator, near)

    results = ask_all_hosts(ctx, jobs, kill_there, show)
    results.notes += notes
    results.errors += refused
    return results


def _choose_jobs_to_end(
    ctx: Context,
    criteria: Criteria | Sequence[str],
    confirm: Confirm | None,
    notes: list[str],
) -> Selection:
    """Return the jobs that are meant; of jobs not named by their ids the active ones.

    Args:
        confirm: Is asked about several that were not named by their ids.
        notes: Takes a line where all of them have ended.
    """
    jobs = select_jobs(ctx, criteria) if any(criteria) else Selection({}, {})
    if jobs.by_id:
        return jobs
    count = sum(map(len, jobs.every.values()))
    if count and not jobs.active:
        what = "the job that is meant has" if count == 1 else f"all {count} jobs have"
        notes.append(f"nothing to end: {what} ended")
    ids = [job_id for some in jobs.active.values() for job_id in some]
    if len(ids) > 1 and confirm is not None:
        shown = ctx.store.jobs.find_jobs(ids[:_SHOWN])
        confirm(list(shown.values()), len(ids))
    return jobs._replace(every=jobs.active, named=False)


def _forget_on_site(
    coordinator: Coordinator,
    ids: list[str],
    notes: list[str],
    refused: list[SshJobsError],
) -> None:
    """Declare jobs LOST, on their host if it can be asked, else in the record only."""
    store = coordinator.store
    with store.begin_write():
        sent = [job_id for job_id in ids if not _cancel_unsent(coordinator, job_id)]
        settle_others(store)
        numbers = store.intents.add_intents(coordinator.site_id, "forget", sent)
    if not numbers:
        return
    try:
        coordinator.wait_for(require_intents_served(coordinator.site, numbers))
    except (errors.HostUnreachable, errors.AuthenticationError) as error:
        notes.append(_forget_in_record(coordinator, numbers, error))
    except SshJobsError:
        store.intents.drop_intents(numbers)  # the next round tells what was done there
        raise
    else:
        intents = store.intents.read_outcomes(numbers).values()
        refused += (errors.load(i.note) for i in intents if i.outcome == FAILED)
        store.intents.drop_intents(numbers)


def _forget_in_record(
    coordinator: Coordinator, numbers: list[int], error: SshJobsError
) -> str:
    """Declare jobs LOST of a host that cannot be asked; return a warning.

    The host is told when it can be asked again, and a job that runs there is ended.
    """
    store, host = coordinator.store, coordinator.identity.host
    reason = f"declared lost by a person while {host} could not be asked"
    lost = dict(state=states.LOST, finished_at=coordinator.clock(), reason=reason)
    with store.begin_write():
        store.intents.leave_open(numbers)
        ids = [
            intent.job_id for intent in store.intents.read_outcomes(numbers).values()
        ]
        jobs = store.jobs.find_jobs(ids).values()
        active = [job.id for job in jobs if not states.is_final(job.state)]
        for job_id in active:
            store.jobs.update_job(job_id, **lost)
        settle_others(store)
    return (
        f"{host}: {len(active)} declared lost in this machine's record alone, and may "
        f"still run: the host could not be asked ({error}). If a command of sshjobs "
        "reaches it again, what runs there is ended"
    )


def _tell_to_end(
    coordinator: Coordinator, ids: list[str], keep: bool, sent_ids: list[str]
) -> list[str]:
    """Have the host told to end jobs; return the ids of those that were sent to it."""
    store = coordinator.store
    sent, numbers = _want_jobs_ended(coordinator, ids)
    if not sent:
        return []
    try:
        coordinator.wait_for(require_intents_served(coordinator.site, numbers))
    except SshJobsError as error:
        if not store.intents.count_unserved(numbers)[1]:
            host = coordinator.identity.host
            text = f"{host}: told to end, and not answered. The last try: {error}"
            raise NotYet(text, tuple(sent)) from error
        if not keep:
            store.intents.withdraw_intents(numbers)
        raise
    except BaseException:
        gone = store.intents.count_unserved(numbers)[1]
        sent_ids += [] if gone else sent
        if not keep:
            store.intents.withdraw_intents(numbers)
        raise
    store.intents.drop_intents(numbers)
    sent_ids += sent
    return sent


def _wait_for_ends(coordinator: Coordinator, sent: list[str]) -> None:
    store = coordinator.store
    grace = coordinator.settings.kill_grace + KILL_BOUND
    away = {
        key for key, job in store.jobs.find_jobs(sent).items() if runs_elsewhere(job)
    }
    near = [job_id for job_id in sent if job_id not in away]
    active = require_paced_rounds(
        coordinator.site, UnfinishedJobs(store, near).any, live=True
    )
    until = time.monotonic() + grace
    wish = RoundWish(waits_for_end=True)
    if near and not coordinator.wait_for(active, until=until, wish=wish).is_met:
        raise NotYet("told to end, and not ended yet", tuple(sent))
    if away:
        raise _describe_unreachable_machine(coordinator, sorted(away))


def _describe_unreachable_machine(coordinator: Coordinator, ids: list[str]) -> NotYet:
    """Name the machines of a host that this connection does not reach."""
    jobs = coordinator.store.jobs.find_jobs(ids)
    where = "; ".join(f"job {job_id} {jobs[job_id].reason}" for job_id in ids)
    return NotYet(
        f"{coordinator.identity.host}: {where}, which this connection does not reach.\n"
        "The kill stays in the record: the next command of sshjobs that reaches that "
        "machine, such as sshjobs poll, ends the job.\n"
        "If that machine is gone for good, declare its jobs lost:\n"
        f"sshjobs kill --forget {' '.join(ids)}",
        tuple(ids),
    )


def _want_jobs_ended(
    coordinator: Coordinator, ids: list[str]
) -> tuple[list[str], list[int]]:
    """Write intents to kill; return the jobs that their host is asked about, and them.

    Raises:
        NotYet: the store cannot be written; the host was told all the same.
    """
    store = coordinator.store
    try:
        with store.begin_write():
            sent = [job_id for job_id in ids if not _cancel_unsent(coordinator, job_id)]
            settle_others(store)
            return sent, store.intents.add_intents(coordinator.site_id, "kill", sent)
    except StoreError as error:
        told = coordinator.leadership.kill_unrecorded(ids)
        raise NotYet(
            f"{coordinator.identity.host}: {len(told)} of {len(ids)} jobs were told to "
            f"end, but the record on this machine could not be written: {error}",
            tuple(ids),
        ) from error


def _cancel_unsent(coordinator: Coordinator, job_id: str) -> bool:
    """Cancel a job that no request has named yet; inside a transaction."""
    store = coordinator.store
    start = store.intents.find_start(job_id)
    if start is None or start.sent:
        return False
    store.jobs.update_job(
        job_id,
        state=states.CANCELLED,
        finished_at=coordinator.clock(),
        log_final=True,
        reason="cancelled before it was sent",
    )
    store.intents.serve_intents([start.id])
    store.files.drop_spec(job_id)
    return True
