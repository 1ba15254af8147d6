"""The same work on several hosts side by side, and its results."""

from __future__ import annotations

from .. import states
from ..errors import Interrupted, JobNotFound, SshJobsError
from ..model import Job
from ..startup.records import TYPE_CHECKING
from ..store import Store, slices
from .context import Context
from .selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from queue import SimpleQueue
    from threading import Lock, Thread
    from typing import TypeAlias, TypeVar

    T = TypeVar("T")


#: Takes jobs to show them, while other hosts are still asked; SHOWN_FIELDS of each.
Show: TypeAlias = "Callable[[list[Job]], object]"


#: Seconds that the threads of an interrupted call have to see to their own.
_FAREWELL = 3.0

#: Why a job that was there when the call began is not shown.
_GONE = "is no longer in this machine's record"


class HostResults:
    """Jobs, and the hosts that could not be asked about them.

    Args:
        show: Takes the jobs, some at a time, so that very many are never held at
            once; without it they are kept in :attr:`jobs`.
        is_whole: It is to have all of their fields, and not only those that are shown.

    Attributes:
        jobs: The jobs; empty if somebody was shown them.
        states: How many jobs there are of each state.
        errors: Of hosts that could not be asked, and of jobs that are gone.
        notes: Other remarks, a text each.
    """

    def __init__(self, show: Show | None = None, is_whole: bool = False) -> None:
        self.jobs: list[Job] = []
        self.states: dict[str, int] = {}
        self.errors: list[SshJobsError] = []
        self.notes: list[str] = []
        self._show = self.jobs.extend if show is None else show
        self._is_whole = is_whole or show is None

    def __repr__(self) -> str:
        return f"<HostResults {self.states} {self.errors}>"

    def add_jobs(self, jobs: list[Job]) -> None:
        """Take some more jobs."""
        for job in jobs:
            self.states[job.state] = self.states.get(job.state, 0) + 1
        self._show(jobs)

    def take_from_record(
        self, store: Store, ids: Sequence[str], named: bool = False
    ) -> None:
        """Take jobs as the record has them now.

        Args:
            named: The caller has named each of them, and is told if one is gone (its
                submit gave up before it was sent, say).
        """
        find = store.jobs.find_jobs if self._is_whole else store.jobs.find_shown
        for some in slices(ids):
            known = find(some)
            self.add_jobs([known[job_id] for job_id in some if job_id in known])
            gone = [job_id for job_id in some if named and job_id not in known]
            self.errors += [JobNotFound(job_id, _GONE) for job_id in gone]

    def any_active(self) -> bool:
        """Tell whether one of these jobs may still change."""
        return any(not states.is_final(state) for state in self.states)

    def any_bad(self) -> bool:
        """Tell whether one of these jobs has ended badly."""
        return any(
            states.is_final(state) and state != states.COMPLETED
            for state in self.states
        )


def work_side_by_side(
    ctx: Context,
    hosts: Iterable[str],
    work: Callable[[Context, str], T],
    *,
    until: float | None = None,
) -> Iterator[tuple[str, T | SshJobsError]]:
    """Do the same on several hosts at once.

    Each host has a thread and a store of its own. The threads are daemons: an
    interrupt in the main thread does not wait for a host that is silent.

    Args:
        until: From this instant of the monotonic clock on, wait for no host any more.

    Yields:
        A host and the result of its work, or the error that ended it, in the order in
        which they are ready.
    """
    names = list(dict.fromkeys(hosts))
    if len(names) == 1 and until is None:
        yield names[0], _return_error_of(ctx, names[0], work)
    else:
        yield from work_in_threads(ctx, names, work, until)


def work_in_threads(
    ctx: Context,
    names: Sequence[str],
    work: Callable[[Context, str], T],
    until: float | None = None,
) -> Iterator[tuple[str, T | SshJobsError]]:
    """Do it as :func:`work_side_by_side` does, none of it in the main thread."""
    import queue
    import threading

    ready: queue.SimpleQueue[tuple[str, T | BaseException]]
    ready = queue.SimpleQueue()
    waiting = iter(names)
    lock = threading.Lock()

    def take_hosts_in_turn() -> None:
        while True:
            with lock:
                host = next(waiting, None)
            if host is None:
                return
            ready.put((host, _work_in_own_context(ctx, host, work)))

    threads = [
        threading.Thread(target=take_hosts_in_turn, daemon=True)
        for _ in range(min(ctx.settings("").max_hosts, len(names)))
    ]
    for thread in threads:
        thread.start()
    try:
        yield from _take_results(ready, len(names), until)
    except (KeyboardInterrupt, Interrupted, GeneratorExit) as error:
        # A caller that is closed without an interrupt just wants no more of it.
        if not isinstance(error, GeneratorExit) or any(ctx.interrupts):
            _end_threads(ctx, threads, waiting, lock)
        raise


def _end_threads(
    ctx: Context, threads: list[Thread], waiting: Iterator[str], lock: Lock
) -> None:
    """Have the threads of an interrupted call take back what they have not sent."""
    import time

    with lock:
        list(waiting)  # none of these hosts is begun any more
    for interrupt in ctx.interrupts:
        interrupt.append(2)  # SIGINT, signal(7)
    end = time.monotonic() + _FAREWELL
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _take_results(
    ready: SimpleQueue[tuple[str, T | BaseException]], count: int, until: float | None
) -> Iterator[tuple[str, T | SshJobsError]]:
    """Yield results as they come, so many, or those that are there by an instant.

    An error that a verb reports is a result; any other is a bug, and raised.
    """
    import queue
    import time

    for _ in range(count):
        left = None if until is None else max(0.0, until - time.monotonic())
        try:
            host, result = ready.get(timeout=left)
        except queue.Empty:
            return
        if isinstance(result, BaseException) and not isinstance(result, SshJobsError):
            raise result
        yield host, result


def _work_in_own_context(
    ctx: Context, host: str, work: Callable[[Context, str], T]
) -> T | BaseException:
    """Work on a host in a thread of its own; a bug is for the main thread."""
    try:
        own = ctx.open_for_thread()
        try:
            return _return_error_of(own, host, work)
        finally:
            own.close()
    except BaseException as error:
        return error


def ask_all_hosts(
    ctx: Context,
    jobs: Selection,
    work: Callable[[Context, str], object],
    show: Show | None,
) -> HostResults:
    """Do something about jobs, on all of their hosts side by side.

    Args:
        show: Takes the jobs of a host, as they are now, when that host is done.
    """
    results = HostResults(show)
    ctx.store.files.make_room()
    for site_id, result in work_side_by_side(ctx, jobs.every, work):
        if isinstance(result, SshJobsError):
            results.errors.append(result)
        results.take_from_record(ctx.store, jobs.every[site_id], jobs.named)
    return results


def _return_error_of(
    ctx: Context, host: str, work: Callable[[Context, str], T]
) -> T | SshJobsError:
    try:
        return work(ctx, host)
    except SshJobsError as error:
        return error
