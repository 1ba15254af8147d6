"""Waiting until jobs have ended."""

from __future__ import annotations

import _thread
import time

from .. import states
from ..errors import SshJobsError
from ..model import Job
from ..rounds import RoundWish, cause_of
from ..rounds.needs import require_paced_rounds
from ..startup.records import TYPE_CHECKING
from ..store import Store, slices
from .context import Context
from .fanout import HostResults, Show, work_side_by_side
from .selection import Criteria, Selection, UnfinishedJobs, select_jobs
from .tend import NOT_SENT, rest_while_held, send_let_go, tend_held


class WaitCount:
    """How far a wait has come; plain numbers that other threads may read.

    Attributes:
        total: The jobs that are waited for.
        done: Those that have ended; ``bad`` of them badly.
        running: Those that were running when they were last looked at.
        done_before: Those of them that had ended when the wait began.
        ended_badly: The first :data:`MOST_NAMED` of the bad ones.
    """

    def __init__(self) -> None:
        self.total = 0
        self.done = self.bad = self.done_before = 0
        self.running_by_site: dict[str, int] = {}
        self.ended_badly: list[Job] = []
        self.began_at = time.monotonic()

    def add_jobs(self, jobs: Sequence[Job]) -> None:
        """Count jobs as they are shown."""
        for job in jobs:
            if not states.is_final(job.state):
                continue
            self.done += 1
            if job.state != states.COMPLETED:
                self.bad += 1
                if len(self.ended_badly) < MOST_NAMED:
                    self.ended_badly.append(job)

    @property
    def seconds(self) -> float:
        """How long the wait has lasted."""
        return max(1e-3, time.monotonic() - self.began_at)

    @property
    def running(self) -> int:
        """How many were running when they were last looked at."""
        return sum(self.running_by_site.values())


#: Of so many jobs that ended badly the last line of the log is of interest.
MOST_NAMED = 20


class _EndedJobs:
    """The jobs of one site whose ends were not shown yet."""

    def __init__(self, store: Store, ids: Sequence[str], count: WaitCount) -> None:
        self.ids = list(ids)
        self._store = store
        self._count = count

    def take(self, site_id: str) -> Iterator[list[Job]]:
        """Yield those that have ended since the last call, some at a time."""
        left: list[str] = []
        running = 0
        for some in slices(self.ids):
            final, now_running = self._store.jobs.find_ended(some)
            running += now_running
            if final:
                ended = self._store.jobs.find_jobs(final).values()
                # As far as it is known, in the order of their ends.
                yield sorted(ended, key=lambda job: job.finished_at or job.submitted_at)
                gone = set(final)
                left += [job_id for job_id in some if job_id not in gone]
            else:
                left += some
        self.ids = left
        self._count.running_by_site[site_id] = running


class _SiteWaits:
    """The waits of one call, a thread a site, that show jobs as they end."""

    def __init__(self, jobs: Selection, results: HostResults, count: WaitCount) -> None:
        self._jobs = jobs
        self._results = results
        self._count = count
        self._lock = _thread.allocate_lock()
        #: By site, the jobs that were not shown yet.
        self.rest = dict(jobs.every)
        #: Why a host has not been asked of late.
        self.notes: list[str] = []

    def wait(self, ctx: Context, site_id: str, until: float | None) -> None:
        """Wait for the jobs of a site."""
        if site_id not in self._jobs.active:
            return
        ended = _EndedJobs(ctx.store, self._jobs.every[site_id], self._count)
        unfinished = UnfinishedJobs(ctx.store, self._jobs.active[site_id])

        def deliver() -> None:
            for new in ended.take(site_id):
                with self._lock:
                    self._results.add_jobs(new)

        deliver()
        self._count.done_before += len(self._jobs.every[site_id]) - len(ended.ids)
        wish = RoundWish(waits_for_end=True, on_look=deliver)
        try:
            with ctx.coordinator_at(site_id) as coordinator:
                need = require_paced_rounds(coordinator.site, unfinished.any)
                active = self._jobs.active[site_id]
                need = rest_while_held(coordinator.site, active, need)
                if not coordinator.wait_for(need, until=until, wish=wish).is_met:
                    row = coordinator.site.row()
                    self.notes.extend([str(cause_of(row))] * bool(row.cause))
        finally:
            self.rest[site_id] = ended.ids

    def show_rest(self, store: Store, site_id: str) -> None:
        """Show the jobs of a site that have not ended."""
        with self._lock:
            self._results.take_from_record(store, self.rest[site_id], self._jobs.named)


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def wait_for_jobs(
    ctx: Context,
    criteria: Criteria | Sequence[str] = (),
    *,
    timeout: float | None = None,
    show: Show | None = None,
    count: WaitCount | None = None,
) -> HostResults:
    """Wait until jobs have ended.

    Args:
        criteria: The jobs that are meant, or their ids; empty: all that are active.
        timeout: Seconds; the jobs are not touched when they pass.
        show: Takes jobs as they end, and at the end those that have not ended; they
            are not kept then.
        count: Is kept up to date meanwhile.
    """
    jobs = select_jobs(ctx, criteria)
    until = None if timeout is None else time.monotonic() + timeout
    counted = WaitCount() if count is None else count
    counted.total = sum(map(len, jobs.every.values()))

    def count_and_show(some: list[Job]) -> None:
        counted.add_jobs(some)
        (results.jobs.extend if show is None else show)(some)

    results = HostResults(count_and_show, is_whole=show is None)
    waits = _SiteWaits(jobs, results, counted)

    def wait_there(own: Context, site_id: str) -> None:
        waits.wait(own, site_id, until)

    ctx.store.files.make_room()
    held = ctx.store.intents.has_held()
    with tend_held(ctx, [job_id for some in jobs.active.values() for job_id in some]):
        for site_id, result in work_side_by_side(ctx, jobs.every, wait_there):
            if isinstance(result, SshJobsError):
                results.errors.append(result)
            waits.show_rest(ctx.store, site_id)
    if held and not results.any_active():
        for error in send_let_go(ctx).values():
            ctx.say(NOT_SENT.format(error))
    results.notes.extend(waits.notes)
    return results
