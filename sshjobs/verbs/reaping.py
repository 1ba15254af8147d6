"""Bringing records home, then deleting the directories on the hosts."""

from __future__ import annotations

import time
from collections.abc import Callable

from .. import errors, protocol, states
from ..errors import SshJobsError
from ..facts import wants_cleanup
from ..model import Job
from ..rounds import Party
from .context import Context
from .finding import Answer, Show, side_by_side
from .polling import adopted, listing, oddities, take_up

_NOT_HOME = "not reaped: its log could not be brought home"


def reap(
    ctx: Context,
    *,
    host: str | None = None,
    older_than: float = 0.0,
    orphans: bool = False,
    dry_run: bool = False,
    show: Show | None = None,
) -> Answer:
    """Bring ended jobs home and delete their directories on the hosts.

    Args:
        older_than: Only what ended at least so many seconds ago.
        orphans: Also directories that the store does not know.
        dry_run: Return what would go, delete nothing.
        show: Takes the jobs of each host when that host is done.
    """
    before = time.time() - older_than if older_than else float("inf")
    notes: list[str] = []
    refused: list[SshJobsError] = []

    def work(own: Context, conn: str) -> list[Job]:
        with own.party_at(conn) as party:
            if own.store.any_active(party.conn):  # some may have ended since
                party.pursue(party.fresh(party.clock()))
            jobs = own.store.unreaped(party.conn, before)
            extra = _orphans(party, older_than, notes, dry_run) if orphans else []
        known = {job.id for job in jobs}
        jobs += [job for job in extra if job.id not in known]
        if dry_run or not jobs:
            return jobs
        return _reap_jobs(own, conn, jobs, refused)

    answer = Answer([], [], notes)
    for _, result in side_by_side(ctx, _conns(ctx, host), work):
        if isinstance(result, SshJobsError):
            answer.errors.append(result)
            continue
        answer.jobs.extend(result)
        if show is not None:
            show(result)
    answer.errors.extend(refused)
    ctx.store.sweep()
    return answer


def _conns(ctx: Context, host: str | None) -> list[str]:
    """Return the connections of a host, the present one among them; or all."""
    if host is None:
        return [row.conn for row in ctx.store.hosts()]
    with ctx.party(host) as party:
        present = party.conn
    older = [row.conn for row in ctx.store.hosts() if row.host == host]
    return list(dict.fromkeys([present, *older]))


def _orphans(
    party: Party, older_than: float, notes: list[str], dry_run: bool
) -> list[Job]:
    """Return ended jobs that stand on the host and were unknown here."""

    def wanted(fact: protocol.Listed) -> bool:
        return states.is_final(fact.state) and fact.age >= older_than

    if not dry_run:
        jobs, odd = take_up(party, wanted)
        notes += odd
        return [job for job in jobs if states.is_final(job.state)]
    listed = listing(party)
    notes += oddities(party, listed)
    found = [f for f in listed if isinstance(f, protocol.Listed) and wanted(f)]
    known = party.store.jobs([fact.job_id for fact in found])
    now = party.clock()
    return [
        adopted(party, fact, now)._replace(state=fact.state)
        for fact in found
        if fact.job_id not in known
    ]


def _reap_jobs(
    ctx: Context, conn: str, jobs: list[Job], refused: list[SshJobsError]
) -> list[Job]:
    """Reap these ended jobs of one host; return those that are gone there."""
    ids = [job.id for job in jobs]
    with ctx.party_at(conn) as party:
        numbers = party.store.add_intents(party.conn, "reap", ids)
        try:
            party.pursue(_progress(party, party.served(numbers)))
            outcomes = party.store.outcomes(numbers)
        finally:
            party.store.drop_intents(numbers)
        for intent in outcomes.values():
            if intent.note:
                refused.append(errors.load(intent.note))
            elif not intent.done:
                refused.append(errors.JobError(intent.job_id, _NOT_HOME))
        now = party.store.jobs(ids)
    return [job for job in now.values() if job.reaped_at is not None]


def _progress(
    party: Party, need: Callable[[], float | None]
) -> Callable[[], float | None]:
    """Give a need up once ``cleanup_retries`` rounds have brought it no further."""
    marks: list[tuple[int, int]] = []

    def watched() -> float | None:
        row = party.row()
        if not marks or row.bytes_in - marks[-1][1] > 4096:
            marks.append((row.rounds, row.bytes_in))
        if row.rounds - marks[-1][0] > party.settings.cleanup_retries:
            return None
        return need()

    return watched


def clean_up(ctx: Context, job: Job) -> Job:
    """Have the directory of an ended job gone, if it is to go; never fail for it."""
    if not wants_cleanup(job) or job.reaped_at is not None:
        return job
    try:
        answer = _reap_jobs(ctx, job.conn, [job], [])
    except SshJobsError:
        return ctx.store.job(job.id) or job
    return answer[0] if answer else (ctx.store.job(job.id) or job)
