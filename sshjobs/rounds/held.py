"""Jobs that come after jobs of other hosts: they wait in the record of this machine.

Theory of operation: a host cannot ask how a job of another one ends, so that such a job
is not sent: its start waits here (:mod:`sshjobs.store.held`). Whoever leads a round
looks at what waits, as it makes its request and once the reply has brought an end, both
times inside the transaction. So an end and what follows from it are written together,
or neither is; and of two leaders SQLite lets one go first, and the other finds nothing
that waits. From then on it is a start like any other, which its host runs once.
"""

from __future__ import annotations

from .. import states
from ..launchers.before import HELD_HERE
from ..startup.records import TYPE_CHECKING, Record
from ..store import Store

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from ..store.held import Held, JobFacts

#: The reason of a job from then on until its host has it.
LET_GO = "let go, and not sent yet"


class Settled(Record):
    """The jobs that were ended, and the sites of all whose wait is over."""

    ended: list[str]
    sites: set[str]


class _Verdict(Record):
    """What is to be done with a job: ``reason`` tells why it waits or never begins."""

    state: str  # PENDING, CANCELLED, or "" to let it go
    reason: str
    words: str = ""  # the jobs that its own host is to wait for


def settle_held(store: Store, now: float) -> Settled:
    """Let go of jobs that may be sent, and end those that never can begin.

    It is called inside a transaction.
    """
    held = {one.job_id: one for one in store.held.list_held()}
    settled = Settled([], set())
    is_new = True
    while held and is_new:
        is_new = False
        ids = {word[:16] for one in held.values() for word in one.words.split()}
        facts = store.held.find_facts(ids | held.keys())
        for job_id, one in list(held.items()):
            own = facts.get(job_id)
            if own is None or states.is_final(own.state):
                store.intents.serve_intents([one.number])
                del held[job_id]
                continue
            verdict = _weigh(one, own, facts, held)
            if verdict.state == states.PENDING:
                if verdict.reason != own.reason:
                    store.jobs.update_job(job_id, reason=verdict.reason)
                continue
            # Others may come after this one: those before it in the list look again.
            is_new = True
            del held[job_id]
            settled.sites.add(own.site_id)
            if verdict.state:
                end_held(store, one, now, verdict.reason)
                facts[job_id] = own._replace(state=verdict.state)
                settled.ended.append(job_id)
            else:
                store.held.let_go(one.number, own.site_id, verdict.words)
                store.jobs.update_job(job_id, reason=LET_GO)
    return settled


def end_held(store: Store, one: Held, now: float, reason: str) -> None:
    """End a job that waits here, and of which its host has never heard."""
    store.jobs.update_job(
        one.job_id,
        state=states.CANCELLED,
        finished_at=now,
        log_final=True,
        reason=reason,
    )
    store.intents.serve_intents([one.number])
    store.files.drop_spec(one.job_id)


def _weigh(
    one: Held, own: JobFacts, facts: Mapping[str, JobFacts], held: Container[str]
) -> _Verdict:
    """Tell what follows for a job from how those before it do."""
    rest: list[str] = []
    waits: list[str] = []
    for word in one.words.split():
        job_id, _, how = word.partition(":")
        other = facts.get(job_id)
        if other is None:
            text = f"the record of this machine has no job {job_id} any more, which was"
            return _Verdict(states.CANCELLED, f"never began: {text} to come before it")
        if other.state == states.COMPLETED:
            continue
        if states.is_final(other.state):
            if how == "any":
                continue
            text = f"job {job_id}, which was to come before it, is {other.state}"
            return _Verdict(states.CANCELLED, f"never began: {text}")
        can_ask = other.site_id == own.site_id and own.launcher not in HELD_HERE
        if can_ask and job_id not in held:
            rest.append(word)
        else:
            mute = ", which cannot be asked now" if other.failures else ""
            waits.append(f"{job_id} on {other.host}{mute}")
    if not waits:
        return _Verdict("", "", " ".join(rest))
    more = f", and {len(waits) - 1} more" if len(waits) > 1 else ""
    return _Verdict(states.PENDING, f"after {waits[0]}{more}")
