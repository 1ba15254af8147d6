"""The logs of several jobs at once: one round a host brings all of them.

Theory of operation: a host has one thread, one coordinator and an intent for each log,
so that jobs that are followed side by side share every round and the watch. A line is
handed over once its end is here; until then nothing of it is held but its place in the
file, however many logs are followed and however long their lines are.
"""

from __future__ import annotations

import os

from .. import states
from ..errors import JobNotFound, SpecError, SshJobsError
from ..model import Job, name_streams
from ..owned import open_owned
from ..rounds import LONG, Coordinator, RoundWish
from ..rounds.log_state import is_log_cut, is_log_wanted, view_log
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from ..store import Store, slices
from .context import Context
from .fanout import work_side_by_side
from .logs import (
    MissingBytes,
    find_tail_offset,
    require_log_of_now,
    require_whole_log,
)
from .tend import tend_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from ..rounds.needs import Need

    #: Takes whole lines of a job's log; of the last one the newline may be missing.
    WriteLines: TypeAlias = Callable[[Job, bytes], object]


#: A line that is longer than so many bytes comes in pieces of that size.
LONGEST_LINE = 1 << 16

#: Every log that is followed has its turn in each round; see ``request.MAX_LOGS``.
MOST_AT_ONCE = 500


class LogLines:
    """Hands over one log line by line, from its file on this machine.

    Args:
        store: The store.
        job: The job.
        write: Takes whole lines.
        offset: Where to begin, in bytes.
        stderr: Take the log of its standard error, if it has one.
    """

    def __init__(
        self,
        store: Store,
        job: Job,
        write: WriteLines,
        offset: int = 0,
        stderr: bool = False,
    ) -> None:
        self._stream = name_streams(job)[-1] if stderr else ""
        self._path = store.files.locate_log(job.id, self._stream)
        self._job = job
        self._write = write
        self._at = offset
        self._looked_upto = 0

    def skip_to_tail(self, job: Job, lines: int) -> None:
        """Begin with the last so many lines of the bytes that are here."""
        size = view_log(job, self._stream).log_local_bytes
        self._at = max(self._at, find_tail_offset(self._path, size, lines))

    def copy(self, job: Job, *, is_end: bool = False) -> None:
        """Hand over the lines that end in the bytes that are here.

        Args:
            is_end: The log ends there, maybe within a line.
        """
        upto = view_log(job, self._stream).log_local_bytes
        if upto <= self._at or (upto == self._looked_upto and not is_end):
            return
        self._looked_upto = upto
        with open(open_owned(self._path, os.O_RDONLY), "rb", buffering=0) as log:
            log.seek(self._at)
            while self._at < upto:
                data = log.read(min(LONGEST_LINE, upto - self._at))
                end = data.rfind(b"\n") + 1
                if not end and (is_end or len(data) == LONGEST_LINE):
                    end = len(data)
                if not end:
                    return
                self._write(self._job, data[:end])
                self._at += end
                log.seek(self._at)


def bring_logs(
    ctx: Context, jobs: Mapping[str, Sequence[str]], *, whole: bool = False
) -> Iterator[tuple[str, list[SshJobsError]]]:
    """Bring home the logs of jobs, as long as they are now, all hosts side by side.

    Args:
        jobs: Their ids, by connection.
        whole: Bring also the bytes that ``max_log_bytes`` would leave on the host.

    Yields:
        A connection whose logs are here now, as far as they could be brought, and why
        others are not.
    """

    def bring(own: Context, site_id: str) -> list[SshJobsError]:
        found: list[SshJobsError] = []
        for at in range(0, len(jobs[site_id]), MOST_AT_ONCE):
            some = jobs[site_id][at : at + MOST_AT_ONCE]
            open_jobs = _prepare_jobs(own.store, some, whole)
            if open_jobs:
                with own.coordinator_at(site_id) as coordinator:
                    found += _bring_logs_of_now(coordinator, open_jobs)
        return found

    for site_id, result in work_side_by_side(ctx, jobs, bring):
        yield site_id, [result] if isinstance(result, SshJobsError) else result


def follow_logs(
    ctx: Context,
    jobs: Mapping[str, Sequence[str]],
    write: WriteLines,
    on_end: Callable[[Job], object],
    *,
    offset: int = 0,
    tail: int | None = None,
    whole: bool = False,
    stderr: bool = False,
) -> list[SshJobsError]:
    """Hand over the lines of jobs as they come, until each has ended.

    Args:
        jobs: Their ids, by connection.
        write: Takes lines; called from several threads.
        on_end: Takes a job that has ended, and whose last line was handed over.
        offset: Begin with this byte of each log.
        tail: Begin with the last so many lines of each that are there now.
        whole, stderr: See :func:`bring_logs` and :class:`LogLines`.

    Returns:
        Why hosts, or single logs, could not be followed to the end; lines that are here
        by then were handed over.
    """
    ids = [job_id for some in jobs.values() for job_id in some]
    if len(ids) > MOST_AT_ONCE:
        raise SpecError(
            f"{len(ids)} jobs are more than can be followed at once ({MOST_AT_ONCE}): "
            "choose among them with --state, --name, --host or --since"
        )

    def follow(own: Context, site_id: str) -> list[SshJobsError]:
        open_ids = _prepare_jobs(own.store, jobs[site_id], whole)
        logs: dict[str, LogLines] = {}
        for job in own.store.jobs.find_jobs(jobs[site_id]).values():
            lines = LogLines(own.store, job, write, offset, stderr)
            if job.id in open_ids:
                logs[job.id] = lines
            else:
                copy_lines_home(lines, job, tail)
                on_end(job)
        if not logs:
            return []
        with own.coordinator_at(site_id) as coordinator:
            return _Follower(coordinator, logs, on_end).follow(tail)

    with tend_held(ctx, ids):
        results = [result for _, result in work_side_by_side(ctx, jobs, follow)]
    return sum((r if isinstance(r, list) else [r] for r in results), [])


def copy_lines_home(lines: LogLines, job: Job, tail: int | None) -> None:
    """Hand over the lines of a log that are on this machine."""
    if tail is not None:
        lines.skip_to_tail(job, tail)
    lines.copy(job, is_end=True)


def _prepare_jobs(store: Store, ids: Sequence[str], whole: bool) -> list[str]:
    """Return the jobs of which there may be more than is here."""
    found = []
    for some in slices(ids):
        known = store.jobs.find_jobs(some)
        for job in map(store.check_log, filter(None, map(known.get, some))):
            if whole and job.max_log_bytes:
                store.jobs.update_job(job.id, max_log_bytes=0)
                job = job._replace(max_log_bytes=0)
            if not (job.log_final or job.reaped_at is not None or is_log_cut(job)):
                found.append(job.id)
    return found


@contextmanager
def _want_logs(
    coordinator: Coordinator, ids: Sequence[str]
) -> Iterator[dict[str, MissingBytes]]:
    """Have every round bring these logs, as long as this lasts."""
    numbers = coordinator.store.intents.add_intents(coordinator.site_id, "log", ids)
    try:
        yield {
            job_id: MissingBytes(coordinator, job_id, [number])
            for job_id, number in zip(ids, numbers)
        }
    finally:
        coordinator.store.intents.drop_intents(numbers)


class _EachNeed:
    """The need that each of several is met; the error of one ends no other.

    Attributes:
        errors: Of those that cannot be met.
    """

    def __init__(self, needs: dict[str, Need]) -> None:
        self._left = needs
        self.errors: dict[str, SshJobsError] = {}

    def find_due(self) -> float | None:
        """Return from when on a round is wanted, None once each is met."""
        dues = []
        for job_id, need in list(self._left.items()):
            due = None
            try:
                due = need()
            except SshJobsError as error:
                self.errors[job_id] = error
            if due is None:
                del self._left[job_id]
            else:
                dues.append(due)
        return min(dues, default=None)


def _bring_logs_of_now(
    coordinator: Coordinator, ids: Sequence[str]
) -> list[SshJobsError]:
    """Bring home all of these logs that there is now; return why some cannot be had."""
    with _want_logs(coordinator, ids) as missing:
        each = _EachNeed(
            {
                job_id: require_log_of_now(coordinator, job_id, bytes_left)
                for job_id, bytes_left in missing.items()
            }
        )
        try:
            coordinator.wait_for(each.find_due)
        except SshJobsError as error:
            return [*each.errors.values(), error]
        return list(each.errors.values())


class _Follower:
    """Hands over the lines of one host's jobs, until each has ended.

    Args:
        logs: The log of each, by id; those that have ended are taken out.
        on_end: Takes each job that has ended.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        logs: dict[str, LogLines],
        on_end: Callable[[Job], object],
    ) -> None:
        self._coordinator = coordinator
        self._logs = logs
        self._on_end = on_end
        self._failed: list[SshJobsError] = []

    def follow(self, tail: int | None) -> list[SshJobsError]:
        """Follow them to their ends; return why some could not be followed."""
        ids, coordinator = list(self._logs), self._coordinator
        if tail is not None:
            self._failed = _bring_logs_of_now(coordinator, ids)
            for job_id, job in coordinator.store.jobs.find_jobs(ids).items():
                self._logs[job_id].skip_to_tail(job, tail)
        with _want_logs(coordinator, ids) as missing:
            each = _EachNeed(
                {
                    job_id: require_whole_log(coordinator, job_id, left)
                    for job_id, left in missing.items()
                }
            )
            wish = RoundWish(
                portion_bytes=LONG, waits_for_end=True, on_look=self._deliver
            )
            try:
                coordinator.wait_for(each.find_due, wish=wish)
            except SshJobsError as error:
                self._failed.append(error)
        self._deliver()  # what came after the last delivery and before the last look
        for job_id, job in coordinator.store.jobs.find_jobs(self._logs).items():
            self._logs[job_id].copy(job, is_end=True)  # half a line
        return self._failed + list(each.errors.values())

    def _deliver(self) -> None:
        known = self._coordinator.store.jobs.find_jobs(self._logs)
        for job_id, lines in list(self._logs.items()):
            job = known.get(job_id)
            if job is None:
                gone = JobNotFound(job_id, "is no longer in this machine's record")
                self._failed.append(gone)
                del self._logs[job_id]
                continue
            is_end = states.is_final(job.state) and not is_log_wanted(job)
            lines.copy(job, is_end=is_end)
            if is_end:
                del self._logs[job_id]
                self._on_end(job)
