"""One command on several hosts, side by side: run and submit.

Theory of operation: each host has a thread, in which the verb for one host runs as it
is. Signals reach the main thread only; it hands the first one on to every thread, each
of which takes back or cancels its own, and goes on taking their outcomes. The second
one ends the call.
"""

from __future__ import annotations

from ..errors import Interrupted, SshJobsError
from ..model import Job
from ..startup.contexts import closing, contextmanager
from ..startup.records import TYPE_CHECKING, Record
from ..startup.stdlib import signal
from .context import Context
from .fanout import work_in_threads
from .run import run_job
from .submit import JobRequest, Submitted, submit_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class HostOutcome(Record):
    """The end of a call on one of its hosts.

    ``job`` is None where none is there; ``was_there`` says that it held the key before.
    ``error``, and ``signum`` of the signal that interrupted it, say why the work was
    not done; ``is_told_to_end`` says that the host ends the job.
    """

    host: str
    job: Job | None = None
    error: SshJobsError | None = None
    signum: int = 0
    is_told_to_end: bool = False
    was_there: bool = False


class ManyHosts:
    """A call on several hosts.

    Args:
        job_requests: The job of each host.

    Attributes:
        outcomes: By host, those that are known.
        started: By host, the job that runs there.
        cancelled: The ids of jobs that are to end since a signal came.
        signum: The first signal that interrupts it, 0 if there was none.
    """

    def __init__(self, ctx: Context, job_requests: Mapping[str, JobRequest]) -> None:
        self._ctx = ctx
        self._job_requests = job_requests
        self.outcomes: dict[str, HostOutcome] = {}
        self.started: dict[str, Job] = {}
        self.cancelled: set[str] = set()
        self.signum = 0

    def __repr__(self) -> str:
        return f"<ManyHosts {len(self.outcomes)} of {len(self._job_requests)}>"

    def submit(
        self, on_start: Callable[[str, Submitted], object]
    ) -> Iterator[HostOutcome]:
        """Start the jobs; yield the outcome of each host as it is known."""

        def submit_there(own: Context, host: str) -> HostOutcome:
            done = submit_jobs(own, host, [self._job_requests[host]])[0]
            job = self._note_start(host, done, on_start)
            return HostOutcome(host, job, was_there=done.was_there)

        return self._work(submit_there)

    def run(
        self,
        open_sink: Callable[[str, int], Callable[[memoryview], int]],
        on_start: Callable[[str, Submitted], object],
        on_cancel: Callable[[Job], object],
        *,
        detach_on_signal: bool = False,
    ) -> Iterator[HostOutcome]:
        """Run the jobs; yield the outcome of each host when its job has ended.

        Args:
            open_sink: Returns what takes the bytes of a host's log (1), or of the
                second log of its job (2); see ``run_job``.
        """

        def cancel(job: Job) -> None:
            self.cancelled.add(job.id)
            on_cancel(job)

        def run_there(own: Context, host: str) -> HostOutcome:
            request = self._job_requests[host]
            stderr = (open_sink(host, 2), lambda: None) if request.spec.split else None
            job = run_job(
                own,
                host,
                request,
                (open_sink(host, 1), lambda: None),
                lambda done: self._note_start(host, done, on_start),
                cancel,
                detach_on_signal=detach_on_signal,
                stderr=stderr,
            )
            return HostOutcome(host, job)

        return self._work(run_there)

    def _note_start(
        self, host: str, done: Submitted, on_start: Callable[[str, Submitted], object]
    ) -> Job:
        if done.error is not None:
            raise done.error
        assert done.job is not None
        self.started[host] = done.job
        on_start(host, done)
        return done.job

    def _work(
        self, work: Callable[[Context, str], HostOutcome]
    ) -> Iterator[HostOutcome]:
        def work_there(own: Context, host: str) -> HostOutcome:
            own.sent_ids = []  # each host its own
            outcome = self.outcomes[host] = self._find_outcome(own, host, work)
            return outcome

        self._ctx.store.files.make_room()
        with self._hand_signals_on():
            every = work_in_threads(self._ctx, list(self._job_requests), work_there)
            with closing(every) as results:  # type: ignore[type-var]
                for host, result in results:
                    if isinstance(result, SshJobsError):  # its context could not open
                        result = self.outcomes[host] = HostOutcome(host, error=result)
                    yield result

    def _find_outcome(
        self, own: Context, host: str, work: Callable[[Context, str], HostOutcome]
    ) -> HostOutcome:
        if self.signum:
            return HostOutcome(host, signum=self.signum)
        try:
            return work(own, host)
        except SshJobsError as error:
            return HostOutcome(host, self.started.get(host), error)
        except Interrupted as interrupt:
            job = self.started.get(host)
            if job is None and own.sent_ids:
                job = own.store.jobs.find_job(own.sent_ids[0])
            told = job is not None and job.id in self.cancelled & set(own.sent_ids)
            return HostOutcome(host, job, None, interrupt.signum, told)

    @contextmanager
    def _hand_signals_on(self) -> Iterator[None]:
        """Interrupt every thread by the first signal, and the call by the second."""
        import threading

        def take(signum: int, _frame: object) -> None:
            if self.signum:
                raise Interrupted(signum)
            self.signum = signum
            for interrupt in list(self._ctx.interrupts):
                interrupt.append(signum)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number in old:
                signal.signal(number, take)
            yield
        finally:
            for number, before in old.items():
                signal.signal(number, before)
