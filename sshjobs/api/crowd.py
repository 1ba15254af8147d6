"""Many jobs at once: found, waited for, taken as they end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from .. import states
from ..errors import SpecError, SshJobsError, WaitTimeout
from ..verbs.ends import yield_ends
from ..verbs.selection import Criteria, select_recorded_jobs
from .job import Job
from .pool import ContextPool, find_pool

#: For :func:`wait`, with the meaning that they have in ``concurrent.futures``.
FIRST_COMPLETED = "FIRST_COMPLETED"
FIRST_EXCEPTION = "FIRST_EXCEPTION"
ALL_COMPLETED = "ALL_COMPLETED"

#: Jobs of one connection of one record.
_Group = tuple[ContextPool, str, dict[str, Job]]

#: What the threads of :func:`as_completed` put: a job, an error, or None at their end.
_Ready: TypeAlias = "queue.SimpleQueue[Job | BaseException | None]"

#: One text, or any of several.
Texts: TypeAlias = "str | Iterable[str]"


class DoneAndNotDone(NamedTuple):
    """The jobs that have ended, and the others."""

    done: set[Job]
    not_done: set[Job]


def find(
    *jobs: str,
    host: Texts = (),
    name: Texts = (),
    key: Texts = (),
    state: Texts = (),
    since: str = "",
) -> list[Job]:
    """Return jobs of this machine's record, oldest first; no host is asked.

    Each argument narrows them down, a list means any of its values, and names, keys
    and hosts may be patterns as of a shell.

    Args:
        jobs: Ids, unique beginnings of one, names, or ``key:K``, as wherever a JOB
            stands on the command line; of a key, the newest attempt.
        host: On this host.
        name: Of this name.
        key: Of this key.
        state: In this state.
        since: Active since then: ``"2h"``, ``"yesterday"``, as ``--since`` takes it.

    Raises:
        JobNotFound: one of ``jobs`` names none, or a beginning several.
        SpecError: a host that was never used here, or no such state.

    >>> job = Host("gpu1").submit("true", name="training")
    >>> find(name="train*", host="gpu1") == [job] == find(job.id[:8])
    True
    """
    criteria = Criteria(
        jobs=_read_texts("a job", jobs),
        hosts=_read_texts("host", host),
        names=_read_texts("name", name),
        keys=_read_texts("key", key),
        states=_read_texts("state", state),
        since=since,
        allow_empty=not jobs,
    )
    odd = sorted(set(criteria.states) - set(states.STATES))
    if odd:
        raise SpecError(f"no such state: {odd[0]!r}; {', '.join(states.STATES)}")
    pool = find_pool({})
    with pool.borrow() as ctx:
        rows = select_recorded_jobs(ctx, criteria, every_attempt=not jobs)
        return [Job(pool, row) for row in rows]


def _read_texts(what: str, value: Texts) -> tuple[str, ...]:
    """Return one text or several as a tuple."""
    texts = (value,) if isinstance(value, str) else tuple(value)
    for text in texts:
        if not isinstance(text, str):
            raise SpecError(f"{what} is a str, not a {type(text).__name__}")
    return texts


def wait(
    jobs: Iterable[Job],
    timeout: float | None = None,
    return_when: str = ALL_COMPLETED,
) -> DoneAndNotDone:
    """Wait for jobs of any hosts, as ``concurrent.futures.wait`` does for futures.

    Args:
        timeout: Seconds, after which it returns in any case; no job is touched.
        return_when: ALL_COMPLETED, once all have ended; FIRST_COMPLETED, once one has,
            however it ended; FIRST_EXCEPTION, once one is not COMPLETED, or all are.

    Raises:
        HostUnreachable: a host could not be asked for longer than the settings allow.

    >>> quick, slow = Host("gpu1").submit_all(["true", "sleep 60"])
    >>> done, not_done = wait([quick, slow], return_when=FIRST_COMPLETED)
    >>> done == {quick}, not_done == {slow}
    (True, True)
    >>> slow.kill().state
    'CANCELLED'
    """
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise SpecError(f"not a value of return_when: {return_when!r}")
    waiting = set(_check_jobs(jobs))
    done: set[Job] = set()
    try:
        for job in as_completed(waiting, timeout):
            done.add(job)
            bad = return_when == FIRST_EXCEPTION and job.state != states.COMPLETED
            if bad or return_when == FIRST_COMPLETED:
                break
    except WaitTimeout:
        pass
    if return_when != ALL_COMPLETED:  # and those that had ended besides
        done |= {job for job in waiting - done if job.is_final}
    return DoneAndNotDone(done, waiting - done)


def as_completed(jobs: Iterable[Job], timeout: float | None = None) -> Iterator[Job]:
    """Yield jobs of any hosts as they end; those that have ended already come first.

    Each host is asked in one session per ``poll_interval``, whatever the number of its
    jobs; where a host can tell of an end at once, it does.

    Args:
        timeout: Seconds from the call of this function.

    Raises:
        WaitTimeout: not all have ended by then; a ``TimeoutError``.
        HostUnreachable: a host could not be asked for longer than the settings allow;
            raised after the jobs of the other hosts.

    >>> jobs = Host("gpu1").submit_all(["sleep 3; echo a", "echo b"])
    >>> [job.log() for job in as_completed(jobs)]
    [b'b\\n', b'a\\n']
    """
    until = None if timeout is None else time.monotonic() + timeout
    groups: dict[tuple[str, str], _Group] = {}
    for job in _check_jobs(jobs):
        place = (job._pool.home, job._row.site_id)
        group = groups.setdefault(place, (job._pool, job._row.site_id, {}))
        group[2][job.id] = job
    return _yield_ended(list(groups.values()), until)


def _check_jobs(jobs: Iterable[Job]) -> list[Job]:
    if isinstance(jobs, Job):
        raise SpecError("an iterable of jobs is wanted, not one job")
    every = list(jobs)
    for job in every:
        if not isinstance(job, Job):
            raise SpecError(f"not a job: a {type(job).__name__}")
    return every


def _yield_ended(groups: list[_Group], until: float | None) -> Iterator[Job]:
    """Yield the ended jobs of all groups; one connection needs no thread."""
    left = sum(len(jobs) for _, _, jobs in groups)
    if len(groups) == 1:
        ends = _watch_group(groups[0], until, threading.Event())
    else:
        ends = _watch_in_threads(groups, until)
    for job in ends:
        left -= 1
        yield job
    if left:
        raise WaitTimeout(f"{left} jobs have not ended")


def _watch_group(
    group: _Group, until: float | None, stop: threading.Event
) -> Iterator[Job]:
    pool, site_id, jobs = group
    with pool.borrow() as ctx:
        for job_id in yield_ends(
            ctx, site_id, jobs, until=until, is_stopped=stop.is_set
        ):
            yield jobs[job_id]


def _watch_in_threads(groups: list[_Group], until: float | None) -> Iterator[Job]:
    """Watch each connection in a thread of its own; one that fails delays no other."""
    ready: _Ready = queue.SimpleQueue()
    stop = threading.Event()

    try:
        for group in groups:
            args = (group, until, stop, ready)
            threading.Thread(target=_put_ends, args=args, daemon=True).start()
        yield from _take_ends(ready, len(groups))
    finally:
        stop.set()


def _put_ends(
    group: _Group, until: float | None, stop: threading.Event, ready: _Ready
) -> None:
    """Put each job into the queue as it ends, then None or the error that came."""
    try:
        for job in _watch_group(group, until, stop):
            ready.put(job)
        ready.put(None)
    except BaseException as error:
        ready.put(error)


def _take_ends(ready: _Ready, busy: int) -> Iterator[Job]:
    """Yield the jobs that so many threads put; then raise the first error of a host."""
    failed: SshJobsError | None = None
    while busy:
        found = ready.get()
        if isinstance(found, Job):
            yield found
            continue
        busy -= 1
        if isinstance(found, SshJobsError):
            failed = failed or found
        elif found is not None:
            raise found  # a bug
    if failed is not None:
        raise failed
