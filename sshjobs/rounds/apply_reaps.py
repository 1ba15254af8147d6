"""The host's words on logs and directories, brought into the store."""

from __future__ import annotations

from .. import errors, protocol, states
from ..model import STDERR, name_streams
from ..startup.records import TYPE_CHECKING
from .changes import JobChanges
from .log_state import has_known_bytes, is_log_home

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Of each log of a job the columns of its length on the host, and of its bytes here.
_COLUMNS = {
    "": ("log_bytes", "log_local_bytes"),
    STDERR: ("stderr_bytes", "stderr_local_bytes"),
}

_ANEW = (
    "its log there and the one that is home differ, and it could not be brought anew"
)


def apply_reaped(changes: JobChanges, event: protocol.Reaped) -> None:
    """Know that a directory is gone; an end that is known was said before."""
    job = changes.jobs.get(event.job_id)
    if job is not None and not states.is_final(job.state):
        reason = "another machine has reaped it, and no record of its end is left"
        changes.change(event.job_id, "lost", finished_at=changes.now, reason=reason)
    changes.change(event.job_id, reaped_at=changes.now)
    changes.serve_intents("reap", event.job_id)
    changes.serve_intents("forget", event.job_id)


def apply_reap_refused(changes: JobChanges, event: protocol.ReapRefused) -> None:
    reason = f"not reaped: {event.reason}"
    if event.job_id in changes.brought_anew:
        reason += ", though it was brought anew"
    changes.fail_intents("reap", event.job_id, errors.JobError(event.job_id, reason))


def apply_unforgotten(changes: JobChanges, event: protocol.Unforgotten) -> None:
    """Tell that a job runs which was to be forgotten; if it is by now, end it."""
    job = changes.jobs.get(event.job_id)
    if job is not None and states.is_final(job.state):
        changes.store.intents.add_intents(changes.site_id, "kill", [job.id], owner=0)
        changes.serve_intents("forget", event.job_id)
    else:
        text = f"not declared lost: {event.reason}; sshjobs kill ends it"
        error = errors.JobError(event.job_id, text)
        changes.fail_intents("forget", event.job_id, error)


def apply_longer(changes: JobChanges, event: protocol.Longer) -> None:
    """Want the rest of a log that was thought to be home; it is reaped after."""
    job = changes.jobs.get(event.job_id)
    if job is None or not is_log_home(job) or job.reaped_at is not None:
        return
    # The host would have deleted a log of which bytes are missing here; it refuses, and
    # says its length (docs/reference/wire-format.md).
    there, here = _COLUMNS[event.stream]
    if event.log_bytes > getattr(job, here):
        length: dict[str, Any] = {there: event.log_bytes}
        changes.change(event.job_id, log_final=False, **length)
        changes.intents.pop(("reap", event.job_id), None)


def apply_differs(changes: JobChanges, event: protocol.Differs) -> None:
    """Want a whole log once more, if this was not tried yet; it is reaped after."""
    job = changes.jobs.get(event.job_id)
    if job is None or not is_log_home(job) or job.reaped_at is not None:
        return
    numbers = changes.intents.get(("reap", event.job_id))
    if numbers and event.job_id not in changes.brought_anew:
        del changes.intents["reap", event.job_id]
        error = errors.JobError(event.job_id, f"not reaped: {_ANEW}")
        changes.store.intents.note_error(numbers, error)
        changes.change(
            event.job_id, log_local_bytes=0, stderr_local_bytes=0, log_final=False
        )


def apply_no_log(changes: JobChanges, event: protocol.NoLog) -> None:
    """Tell callers that want the log of an ended job that none is left to bring.

    Of one that has not ended, the checks of the same request say more.
    """
    job = changes.jobs.get(event.job_id)
    if job is None or not states.is_final(job.state):
        return
    if event.reason == "gone":
        changes.change(event.job_id, reaped_at=changes.now, log_final=True)
        # Gone is what the caller wanted, whoever has done it.
        changes.serve_intents("reap", event.job_id)
        return
    for kind, what in (("reap", "not reaped"), ("log", "its log cannot be read")):
        error = errors.JobError(event.job_id, f"{what}: {event.reason}")
        changes.fail_intents(kind, event.job_id, error)


def apply_log_end(changes: JobChanges, event: protocol.LogEnd) -> None:
    job = changes.jobs.get(event.job_id)
    # A gap: bytes before it were never taken (a leader of an older generation, or a
    # disk without room). Bytes behind a gap do not count; they come again.
    there, here = _COLUMNS[event.stream]
    if job is None or event.offset > getattr(job, here):
        return
    home = max(getattr(job, here), event.offset + event.length)
    final = states.is_final(job.state)
    known = getattr(job, there) or 0
    # The length that an end record tells is the last word. A job without one may write
    # on.
    if job.state == states.LOST or not final:
        known = max(known, event.size, home)
        # A request wants the second of two logs after the first, so that the length of
        # each was looked at since the job was known to be lost.
        final = final and event.stream == name_streams(job)[-1]
    columns: dict[str, Any] = {here: home, there: known}
    final = final and has_known_bytes(job._replace(**columns))
    changes.change(event.job_id, log_final=final, **columns)


HANDLERS: dict[type, Callable[[JobChanges, Any], None]] = {
    protocol.Reaped: apply_reaped,
    protocol.ReapRefused: apply_reap_refused,
    protocol.Unforgotten: apply_unforgotten,
    protocol.Longer: apply_longer,
    protocol.Differs: apply_differs,
    protocol.NoLog: apply_no_log,
    protocol.LogEnd: apply_log_end,
}
