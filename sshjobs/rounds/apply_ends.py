"""The host's words on jobs, ends and kills, brought into the store."""

from __future__ import annotations

from .. import protocol, states
from ..startup.records import TYPE_CHECKING
from .changes import JobChanges
from .log_state import RUNS_ON, has_known_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def apply_ended(changes: JobChanges, said: protocol.Ended) -> None:
    event = states.end_event(said.exit_status, said.signal, said.cause)
    job = changes.jobs.get(said.job_id)
    stderr = said.stderr_bytes
    if stderr is None and job is not None and job.stderr_bytes is not None:
        stderr = 0  # an end that no runner has published, or of a key's other holder
    lengths: dict[str, Any] = {"log_bytes": said.log_bytes, "stderr_bytes": stderr}
    is_home = job is not None and has_known_bytes(job._replace(**lengths))
    started = job.started_at if job else None
    if started is None and said.started_at is not None:
        started = said.started_at + changes.skew
    finished = changes.now  # ours already, and no clock of the host's
    if said.finished_at is not None:
        finished = said.finished_at + changes.skew
    changes.change(
        said.job_id,
        event,
        exit_status=said.exit_status,
        signal=said.signal,
        reason=said.reason or explain_end(event, said),
        started_at=started,
        finished_at=finished,
        log_final=is_home,
        **lengths,
    )
    for kind in ("start", "kill", "forget"):
        changes.serve_intents(kind, said.job_id)


def apply_lost(changes: JobChanges, event: protocol.Lost) -> None:
    changes.change(event.job_id, "lost", finished_at=changes.now, reason=event.reason)
    for kind in ("start", "kill", "forget"):
        changes.serve_intents(kind, event.job_id)


def apply_missing(changes: JobChanges, event: protocol.Missing) -> None:
    job = changes.jobs.get(event.job_id)
    if job is not None and states.is_final(job.state):
        changes.change(event.job_id, reaped_at=changes.now, log_final=True)
        changes.serve_intents("reap", event.job_id)
        return
    # One name may lead to several machines (round-robin names, login nodes): only the
    # one on which it runs can tell that it is gone.
    if job is not None and job.node and changes.node and job.node != changes.node:
        # Another machine answers to that name, with a directory of its own.
        changes.change(event.job_id, reason=f"{RUNS_ON}{job.node}")
        return
    changes.change(
        event.job_id,
        "lost",
        finished_at=changes.now,
        reason="its directory on the host has vanished",
        log_final=True,
    )


def apply_elsewhere(changes: JobChanges, event: protocol.Elsewhere) -> None:
    changes.change(event.job_id, reason=f"{RUNS_ON}{event.node}")


def apply_unsupervised(changes: JobChanges, event: protocol.Unsupervised) -> None:
    changes.change(event.job_id, reason="its supervisor is gone; the job runs on")


def apply_unseen(changes: JobChanges, event: protocol.Unseen) -> None:
    changes.change(event.job_id, reason=event.reason)


def apply_due(changes: JobChanges, event: protocol.Due) -> None:
    """End a job that was told to end while its node could not be reached.

    Whoever told it: the job may be another client's, or be declared lost.
    """
    # The frame comes in each round until the job has ended: one intent is enough.
    if not changes.store.intents.has_open("kill", event.job_id):
        changes.store.intents.add_intents(
            changes.site_id, "kill", [event.job_id], owner=0
        )


def apply_unread(changes: JobChanges, event: protocol.Unread) -> None:
    """Say of a job that may still change why no more is known of it."""
    if event.job_id:
        reason = f"what the host says of it cannot be read: {event.detail}"
        job = changes.jobs.get(event.job_id)
        if job is not None and not states.is_final(job.state):
            changes.change(event.job_id, reason=reason)


def apply_kill_sent(changes: JobChanges, event: protocol.KillSent) -> None:
    changes.serve_intents("kill", event.job_id)


def apply_kill_missing(changes: JobChanges, event: protocol.KillMissing) -> None:
    job = changes.jobs.get(event.job_id)
    if job is not None and job.state == states.RUNNING:
        # It has run, or still does; its directory is gone.
        apply_missing(changes, protocol.Missing(event.job_id))
    else:
        changes.end_unstarted(event.job_id)
    changes.serve_intents("kill", event.job_id)


def explain_end(event: str, said: protocol.Ended) -> str:
    """Say what no exit status says: a signal that we have not sent ended the job."""
    if event != "failed" or said.exit_status is not None:
        return ""
    if said.signal is None:
        return "its end is recorded without a status"
    import signal

    names = {int(known): known.name for known in signal.Signals}
    return f"ended by {names.get(said.signal, f'signal {said.signal}')}"


HANDLERS: dict[type, Callable[[JobChanges, Any], None]] = {
    protocol.Ended: apply_ended,
    protocol.Lost: apply_lost,
    protocol.Missing: apply_missing,
    protocol.Elsewhere: apply_elsewhere,
    protocol.Unsupervised: apply_unsupervised,
    protocol.Unseen: apply_unseen,
    protocol.Due: apply_due,
    protocol.Unread: apply_unread,
    protocol.KillSent: apply_kill_sent,
    protocol.KillMissing: apply_kill_missing,
}
