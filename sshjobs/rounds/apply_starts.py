"""The host's words on starts, brought into the store: started, claimed, refused."""

from __future__ import annotations

from .. import errors, protocol, states
from ..model import Job
from ..startup.records import TYPE_CHECKING
from ..store import DIFFERS, SAME
from .changes import JobChanges

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def apply_started(changes: JobChanges, event: protocol.Started) -> None:
    changes.change(
        event.job_id,
        "started",
        pid=event.pid,
        start=event.start,
        node=event.node,
        started_at=event.started_at + changes.skew,
        reason="",
    )
    changes.serve_intents("start", event.job_id)


def apply_queued(changes: JobChanges, event: protocol.Queued) -> None:
    """Know that the host sees to a job that has not begun, and why it has not."""
    job = changes.jobs.get(event.job_id)
    if job is None or states.is_final(job.state):
        return
    launcher = event.handle.partition(":")[0] or job.launcher
    handle = event.handle if event.handle.count(":") > 1 else job.handle
    changes.change(event.job_id, reason=event.reason, launcher=launcher, handle=handle)
    changes.serve_intents("start", event.job_id)


def apply_claimed(changes: JobChanges, event: protocol.Claimed) -> None:
    job = changes.jobs.get(event.job_id)
    # The key is ours. The attempt counts on the host, which remembers reaped ones.
    if event.winner_id == event.job_id:
        changes.change(event.job_id, attempt=event.attempt)
        return
    # A frame may come twice, since rounds are run again: a job that has started is
    # replaced by no other.
    if job is None or job.state != states.PENDING:  # it has started: it holds it
        return
    winner = changes.jobs.get(event.winner_id)
    if winner and states.is_final(winner.state) and not states.is_final(event.state):
        return  # it was declared lost, and is ended first; the start is asked for again
    other = changes.foreign.get(event.winner_id)
    if other is None:
        adopt_winner(changes, event, job)
    elif (other.host, other.key) != (job.host, job.key):
        refuse_holder(changes, event.job_id, other)
        return
    if is_id_promised(changes, event.job_id):
        reason = f"never ran: job {event.winner_id} holds its key"
        changes.end_unstarted(event.job_id, "cancelled", reason, key="")
        return
    changes.serve_intents("start", event.job_id, SAME if event.same else DIFFERS)
    # First the caller's intent, then the row: forget() deletes intents of the job.
    changes.store.intents.redirect_start(event.job_id, event.winner_id)
    del changes.jobs[event.job_id]
    changes.store.jobs.forget_jobs([event.job_id])


def adopt_winner(changes: JobChanges, event: protocol.Claimed, loser: Job) -> None:
    """Know the job that holds the key; how it does is said by facts of its own."""
    if event.winner_id in changes.jobs:
        return
    changes.jobs[event.winner_id] = loser._replace(
        id=event.winner_id,
        state=states.PENDING,
        attempt=event.attempt,
        command=loser.command if event.same else "",
        digest=loser.digest if event.same else "",
        cleanup="never",
        reason="",
    )


def refuse_holder(changes: JobChanges, job_id: str, holder: Job) -> None:
    """Take no job of another host in place of ours: it would be killed for it.

    The same host under another configuration is another site, and keeps its keys.
    """
    detail = (
        f"it says that job {holder.id} holds the key, which this machine knows as "
        f"a job of {holder.host}"
    )
    give_up_start(changes, job_id, detail, errors.find_hint("round:key"))


def apply_refused(changes: JobChanges, event: protocol.Refused) -> None:
    job = changes.jobs.get(event.job_id)
    if job is not None and job.state != states.PENDING:  # it has started, or more
        changes.serve_intents("start", event.job_id)
        return
    if event.code == "EGONE":
        changes.end_unstarted(event.job_id)
        return
    detail = f"the job could not be started: {event.text}"
    hint = errors.find_hint(f"host:{event.code}")
    give_up_start(changes, event.job_id, detail, hint)


def give_up_start(changes: JobChanges, job_id: str, detail: str, hint: str) -> None:
    """Tell callers that wanted a job started that nothing of it ran, or will."""
    if is_id_promised(changes, job_id):
        changes.end_unstarted(job_id, "failed", detail)
        return
    error = errors.HostError(changes.host, detail, hint)
    changes.fail_intents("start", job_id, error)
    # Nothing ran, and nobody has its id: a row would be a job that nobody can account
    # for.
    changes.jobs.pop(job_id, None)
    changes.store.jobs.drop_job(job_id)


def is_id_promised(changes: JobChanges, job_id: str) -> bool:
    """Tell whether a user has the id of a job that was not answered in time.

    It is asked of the store: a verb may have given up since the request was made.
    """
    intent = changes.store.intents.find_start(job_id)
    return intent is not None and not intent.pid


HANDLERS: dict[type, Callable[[JobChanges, Any], None]] = {
    protocol.Started: apply_started,
    protocol.Queued: apply_queued,
    protocol.Claimed: apply_claimed,
    protocol.Refused: apply_refused,
}
