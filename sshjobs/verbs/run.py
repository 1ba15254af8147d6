"""A job from its submission to its end, in one call."""

from __future__ import annotations

from .. import states
from ..errors import Interrupted, NotYet
from ..model import Job, new_job_id
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import signal
from .context import Context
from .kill import kill_jobs
from .logs import Write, copy_log
from .reap import reap_if_wanted
from .submit import JobRequest, Submitted, submit_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def run_job(
    ctx: Context,
    host: str,
    job_request: JobRequest,
    write: Write,
    on_start: Callable[[Submitted], object],
    *,
    detach_on_signal: bool = False,
) -> Job:
    """Submit a job, hand over its log as it grows, return it when it has ended.

    SIGINT and SIGTERM cancel the job, unless ``detach_on_signal``; a second one
    ends the verb at once. SIGHUP and a ``BrokenPipeError`` of ``write`` leave it.

    Args:
        write: Takes each piece of the log.
        on_start: Called once, when the job is known to have started.

    Raises:
        Interrupted: with ``detach_on_signal``, after a signal.
        BrokenPipeError: from ``write``; the job runs on.
    """
    job_request = job_request._replace(id=job_request.id or new_job_id())
    given = 0

    def count(data: bytes | memoryview) -> None:
        nonlocal given
        write(data)
        given += len(data)

    with _raise_on_signals():
        try:
            done = submit_jobs(ctx, host, [job_request], follow=True)[0]
            if done.error is not None:
                raise done.error
            assert done.job is not None
            on_start(done)
            ended = copy_log(ctx, done.job, count, follow=True)
        except Interrupted:
            job = None if detach_on_signal else _find_submitted_job(ctx, job_request)
            if job is None:
                raise
            ended = _cancel_job(ctx, job)
            copy_log(ctx, ended, count, offset=given)
        return reap_if_wanted(ctx, ended)


def _cancel_job(ctx: Context, job: Job) -> Job:
    """End a job, now or as soon as its host can be asked.

    Raises:
        NotYet: the host has not said that the job has ended; the intent to kill it
            stays in the store, and any later verb of this machine carries it out.
    """
    results = kill_jobs(ctx, [job.id], keep=True)
    if results.errors:
        raise NotYet(
            f"{results.errors[0]}: job {job.id} is NOT cancelled yet; the next sshjobs "
            "poll that reaches the host does it",
            (job.id,),
        )
    return results.jobs[0]


def _find_submitted_job(ctx: Context, job_request: JobRequest) -> Job | None:
    """Return the job of a request, wherever its submission was cut short.

    The record has no row of the request's id if it was withdrawn, so that nothing ran,
    or if another job holds its key.
    """
    job = ctx.store.job(job_request.id)
    if job is None and job_request.key:
        job = next(iter(ctx.store.by_key(job_request.key)), None)
    return job


@contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into :class:`Interrupted`, in the main thread."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raise_interrupted(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        for signum in old:
            signal.signal(signum, raise_interrupted)
        yield
    finally:
        for signum, before in old.items():
            signal.signal(signum, before)


def exit_status_of(job: Job) -> int:
    """Return the exit status of ``run`` for a job that has ended."""
    if job.state == states.TIMEOUT:
        return 124
    if job.state == states.CANCELLED:
        return 143
    if job.state == states.LOST:
        return 70
    if job.signal is not None:
        return 128 + job.signal
    return job.exit_status if job.exit_status is not None else 1
