"""A job from its submission to its end, in one call."""

from __future__ import annotations

import time

from .. import states
from ..errors import Interrupted, NotYet
from ..model import POOL, Job, new_job_id
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import signal
from .context import Context
from .kill import KILL_BOUND, kill_jobs
from .logs import copy_log
from .reap import reap_if_wanted
from .submit import JobRequest, Submitted, submit_jobs
from .tend import tend_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    #: What takes some bytes of a log, and waits until it can.
    Sink: TypeAlias = tuple[Callable[[memoryview], int], Callable[[], object]]


def run_job(
    ctx: Context,
    host: str,
    job_request: JobRequest,
    stdout: Sink,
    on_start: Callable[[Submitted], object],
    on_cancel: Callable[[Job], object],
    *,
    detach_on_signal: bool = False,
    stderr: Sink | None = None,
) -> Job:
    """Submit a job, hand over its log as it grows, return it when it has ended.

    SIGINT and SIGTERM cancel the job, unless ``detach_on_signal``, and its log goes on
    until it has ended; a second one ends the verb at once. SIGHUP and a
    ``BrokenPipeError`` of a sink leave it.

    Args:
        stdout: Takes as much of a piece of the log as it can without waiting, and
            returns how many bytes that were; and waits until it can take some.
        on_start: Called once, when the job is known to have started.
        on_cancel: Called before the job is cancelled.
        stderr: The same for the second log of a job that has two.

    Raises:
        Interrupted: with ``detach_on_signal``, after a signal; after a second one,
            ``ctx.sent_ids`` has the job if its host was told to end it.
        BrokenPipeError: from a sink; the job runs on.
    """
    job_request = job_request._replace(id=job_request.id or new_job_id())
    with _raise_on_signals() as interrupts:
        sinks = [stdout] if stderr is None else [stdout, stderr]
        writers = [_CountingWriter(*sink, interrupts) for sink in sinks]
        try:
            done = _start_job(ctx, host, job_request)
            assert done.job is not None
            on_start(done)
            with tend_held(ctx, [done.job.id]):
                ended = _follow_logs(ctx, done.job, writers)
        except Interrupted:
            job = _find_submitted_job(ctx, host, job_request)
            if detach_on_signal or job is None:
                raise
            ctx.sent_ids.clear()
            ctx.interrupt.clear()  # the rest is its consequence, until the next one
            on_cancel(job)
            ended = _end_and_follow(ctx, job, writers)
        return reap_if_wanted(ctx, ended)


def _start_job(ctx: Context, host: str, job_request: JobRequest) -> Submitted:
    """Start the job of a run on its host, or on one of a pool.

    Raises:
        SshJobsError: it runs nowhere, or may run without an answer (NotYet).
    """
    if host.startswith(POOL):
        from .pools import submit_jobs_to_pool

        [done] = submit_jobs_to_pool(ctx, host, [job_request], follow=True)
    else:
        [done] = submit_jobs(ctx, host, [job_request], follow=True)
    if done.error is not None:
        raise done.error
    return done


def _follow_logs(
    ctx: Context, job: Job, writers: list[_CountingWriter], until: float | None = None
) -> Job:
    """Hand over what is left of a job's log, or of both its logs, to its end."""
    writer, *others = writers
    second = [(other.write_all, other.count) for other in others]
    return copy_log(
        ctx,
        job,
        writer.write_all,
        follow=True,
        offset=writer.count,
        until=until,
        second=second[0] if second else None,
    )


def _end_and_follow(ctx: Context, job: Job, writers: list[_CountingWriter]) -> Job:
    """Have the host end a job, hand over the rest of its log, return it ended.

    Raises:
        NotYet: it has not ended within the bound. Or the host could not be told; the
            intent to kill it stays in the store, and any later verb of this machine
            carries it out.
    """
    results = kill_jobs(ctx, [job.id], keep=True, until_told=True)
    if results.errors:
        raise NotYet(
            f"{results.errors[0]}: job {job.id} is NOT cancelled yet; the next sshjobs "
            "poll that reaches the host does it",
            (job.id,),
        ) from None
    until = time.monotonic() + ctx.settings(job.host).kill_grace + KILL_BOUND
    ended = _follow_logs(ctx, job, writers, until)
    if not states.is_final(ended.state):
        raise NotYet("told to end, and not ended yet", (job.id,)) from None
    return ended


def _find_submitted_job(ctx: Context, host: str, job_request: JobRequest) -> Job | None:
    """Return the job of a request, wherever its submission was cut short.

    The record has no row of the request's id if it was withdrawn, so that nothing ran,
    or if another job holds its key.
    """
    job = ctx.store.jobs.find_job(job_request.id)
    if job is None and job_request.key:
        where = None if host.startswith(POOL) else host
        job = next(iter(ctx.store.jobs.find_by_key(job_request.key, where)), None)
    return job


class _Interrupts:
    """A handler of signals that raises, or keeps the signal while it is held."""

    def __init__(self) -> None:
        self.is_held = False
        self._kept = 0

    def take(self, signum: int, _frame: object) -> None:
        """Handle a signal."""
        if not self.is_held:
            raise Interrupted(signum)
        self._kept = signum

    def let_go(self) -> None:
        """Raise the signal that came meanwhile, if one did."""
        self.is_held = False
        kept, self._kept = self._kept, 0
        if kept:
            raise Interrupted(kept)


class _CountingWriter:
    """Hands pieces of a log over whole, and counts the bytes that were taken."""

    def __init__(
        self,
        write: Callable[[memoryview], int],
        wait_for_room: Callable[[], object],
        interrupts: _Interrupts,
    ) -> None:
        self.count = 0
        self._write = write
        self._wait_for_room = wait_for_room
        self._interrupts = interrupts

    def write_all(self, data: bytes | memoryview) -> None:
        """Hand over a piece, as fast as it is taken."""
        view = memoryview(data)
        while view:
            self._wait_for_room()
            # A signal between a write and its count would have those bytes come twice.
            self._interrupts.is_held = True
            done = self._write(view)
            self.count += done
            self._interrupts.let_go()
            view = view[done:]


@contextmanager
def _raise_on_signals() -> Iterator[_Interrupts]:
    """Turn SIGINT and SIGTERM into :class:`Interrupted`, in the main thread."""
    import threading

    interrupts = _Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        for signum in old:
            signal.signal(signum, interrupts.take)
        yield interrupts
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
