"""Which jobs a call means, and work on several hosts side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from .. import states
from ..errors import JobNotFound, SshJobsError
from ..model import Job
from ..record import TYPE_CHECKING, Record
from .context import Context

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

#: Takes jobs to show them, while other hosts are still asked.
Show = Callable[[list[Job]], object]


class Answer(Record):
    """Jobs, and the hosts that could not be asked about them."""

    jobs: list[Job]
    errors: list[SshJobsError]
    notes: list[str] = []


def find(ctx: Context, text: str, host: str | None = None) -> Job:
    """Return the job that an id, a unique beginning of one, or ``key:K`` names.

    Raises:
        JobNotFound: none does, or several do.
    """
    if text.startswith("key:"):
        jobs = ctx.store.by_key(text[4:], host)
        if not jobs:
            raise JobNotFound(text, "no job of that key in this machine's record")
        return jobs[0]
    jobs = ctx.store.find(text) if text else []
    if len(jobs) == 1:
        return jobs[0]
    if jobs:
        raise JobNotFound(text, "several jobs begin so; give more of the id")
    raise JobNotFound(text, "no such job in this machine's record: see sshjobs list")


def chosen(
    ctx: Context, names: Sequence[str], host: str | None, key: str | None
) -> list[Job]:
    """Return the jobs that a call names; all that are active if it names none."""
    if key:
        names = [*names, f"key:{key}"]
    if names:
        return list(
            {job.id: job for job in (find(ctx, n, host) for n in names)}.values()
        )
    jobs = ctx.store.select(states=states.ACTIVE)
    return [job for job in jobs if host is None or job.host == host]


def by_conn(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    """Return jobs grouped by their connection."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.conn, []).append(job)
    return groups


def any_active(jobs: Iterable[Job]) -> bool:
    """Tell whether one of these jobs may still change."""
    return any(not states.is_final(job.state) for job in jobs)


def side_by_side(
    ctx: Context, hosts: Iterable[str], work: Callable[[Context, str], T]
) -> Iterator[tuple[str, T | SshJobsError]]:
    """Do the same on several hosts at once.

    Each host has a thread and a store of its own. The threads are daemons: an
    interrupt in the main thread does not wait for a host that is silent.

    Yields:
        A host and what its work gave, or the error that it ended with, in the
        order in which they are ready.
    """
    names = list(dict.fromkeys(hosts))
    if len(names) == 1:
        yield names[0], _try(ctx, names[0], work)
    else:
        yield from _in_threads(ctx, names, work)


def _in_threads(
    ctx: Context, names: list[str], work: Callable[[Context, str], T]
) -> Iterator[tuple[str, T | SshJobsError]]:
    import queue
    import threading

    ready: queue.SimpleQueue[tuple[str, T | BaseException]]
    ready = queue.SimpleQueue()
    waiting = iter(names)
    lock = threading.Lock()

    def worker() -> None:
        while True:
            with lock:
                host = next(waiting, None)
            if host is None:
                return
            ready.put((host, _try_apart(ctx, host, work)))

    for _ in range(min(ctx.settings("").max_hosts, len(names))):
        threading.Thread(target=worker, daemon=True).start()
    for _ in names:
        host, result = ready.get()
        if isinstance(result, BaseException) and not isinstance(result, SshJobsError):
            raise result
        yield host, result


def _try_apart(
    ctx: Context, host: str, work: Callable[[Context, str], T]
) -> T | BaseException:
    """Work on a host in a thread of its own; a bug is for the main thread."""
    try:
        own = ctx.fork()
        try:
            return _try(own, host, work)
        finally:
            own.close()
    except BaseException as error:
        return error


def ask_all(
    ctx: Context,
    jobs: Iterable[Job],
    work: Callable[[Context, str], object],
    show: Show | None,
) -> Answer:
    """Do something about jobs, on all of their hosts side by side.

    Args:
        show: Takes the jobs of a host, as they are now, when that host is done.
    """
    groups = by_conn(jobs)
    answer = Answer([], [])
    for host, result in side_by_side(ctx, groups, work):
        if isinstance(result, SshJobsError):
            answer.errors.append(result)
        now = ctx.store.jobs([job.id for job in groups[host]])
        found = [now.get(job.id, job) for job in groups[host]]
        answer.jobs.extend(found)
        if show is not None:
            show(found)
    return answer


def _try(
    ctx: Context, host: str, work: Callable[[Context, str], T]
) -> T | SshJobsError:
    try:
        return work(ctx, host)
    except SshJobsError as error:
        return error
