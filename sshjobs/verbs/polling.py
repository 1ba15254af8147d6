"""Asking how jobs do: once, or until they have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .. import errors, protocol, states
from ..model import Job
from ..rounds import Party, cause_of
from ..store import slices
from .context import Context
from .finding import Answer, Pending, Show, ask_all, chosen


def poll(
    ctx: Context,
    names: Sequence[str] = (),
    *,
    host: str | None = None,
    key: str | None = None,
    adopt: bool = False,
    sensor: bool = False,
    show: Show | None = None,
) -> Answer:
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
    jobs = chosen(ctx, names, host, key)

    def ask(own: Context, conn: str) -> None:
        if conn in jobs.active:
            with own.party_at(conn) as party:
                age = party.settings.poll_interval if sensor else 0.0
                party.pursue(party.fresh(party.clock() - age))

    return ask_all(ctx, jobs, ask, show)


def wait(
    ctx: Context,
    names: Sequence[str] = (),
    *,
    host: str | None = None,
    timeout: float | None = None,
    show: Show | None = None,
) -> Answer:
    """Wait until jobs have ended.

    Args:
        names: Ids, prefixes or ``key:K``; empty: all that are active.
        timeout: Seconds; the jobs are not touched when they pass.
        show: Takes the jobs of each host when those of that host have ended, some at
            a time; they are not kept then.
    """
    jobs = chosen(ctx, names, host, None)
    until = None if timeout is None else time.monotonic() + timeout
    notes: list[str] = []  # why a host has not been asked of late

    def work(own: Context, conn: str) -> None:
        if conn in jobs.active:
            pending = Pending(own.store, jobs.active[conn])
            with own.party_at(conn) as party:
                need = party.paced(pending.any)
                row = None if party.pursue(need, until=until) else party.row()
                if row is not None and row.cause:
                    notes.append(str(cause_of(row)))

    answer = ask_all(ctx, jobs, work, show)
    answer.notes.extend(notes)
    return answer


def _adopt(ctx: Context, host: str | None, show: Show | None) -> Answer:
    """Take up what stands on a host and is not in the store."""
    if not host:
        raise errors.SpecError("--adopt goes with --host")
    answer = Answer(show)
    with ctx.party(host) as party:
        ids, answer.notes = take_up(party, lambda listed: True)
        answer.take(ctx.store, ids)
    return answer


def take_up(
    party: Party, wanted: Callable[[protocol.Listed], bool]
) -> tuple[list[str], list[str]]:
    """Give the store a row for each wanted directory that it does not know.

    Returns:
        The ids of those jobs, and what else there is to say.
    """
    listed = listing(party)
    new = [fact for fact in unknown(party, listed) if wanted(fact)]
    now = party.clock()
    with party.store.write():
        party.store.add_jobs(adopted(party, fact, now) for fact in new)
    party.pursue(party.fresh(party.clock()))
    return [fact.job_id for fact in new], oddities(party, listed)


def unknown(party: Party, listed: list[protocol.Event]) -> list[protocol.Listed]:
    """Return the directories of a listing that the store does not know."""
    found = [fact for fact in listed if isinstance(fact, protocol.Listed)]
    known = {
        job_id
        for some in slices(found)
        for job_id in party.store.jobs(fact.job_id for fact in some)
    }
    return [fact for fact in found if fact.job_id not in known]


def oddities(party: Party, listed: list[protocol.Event]) -> list[str]:
    """Return what to say of entries that are no jobs of ours."""
    return [
        f"{party.identity.host}: {fact.entry}: {fact.reason}; left as it is"
        for fact in listed
        if isinstance(fact, protocol.ListedOdd)
    ]


def listing(party: Party) -> list[protocol.Event]:
    """Have one round, led by this process, list what stands on the host."""
    party.listing, party.listed = True, None

    def need() -> float | None:
        return 0.0 if party.listed is None else None

    try:
        party.pursue(need)
    finally:
        party.listing = False
    return party.listed or []


def adopted(party: Party, fact: protocol.Listed, now: float) -> Job:
    """Return the row of a job that was found on a host."""
    return Job(
        id=fact.job_id,
        host=party.identity.host,
        conn=party.conn,
        state=states.PENDING,
        key=fact.key,
        name=fact.name,
        digest=fact.digest,
        submitted_at=now - max(0.0, fact.age),
    )
