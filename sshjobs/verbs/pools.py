"""Submitting to a pool: each job is placed once, on the host with the most free room.

Theory of operation: the host of each job of a batch is chosen from the record,
without asking any host, and written down with the job in one transaction,
before anything is sent. From then on the job is one of that host, like any other. A
lock makes submits choose one after the other, so that a hundred at one instant do not
all see the same host free.

A job moves in one case only: its host failed, and its start has never been put into a
request. Its row is withdrawn then, as that of any submit that ends with "nothing ran",
and it is placed among the other hosts.

A key has one host as long as the record knows a job of it: the host is looked up in
the transaction that writes the next job of the key down.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from .. import errors
from ..errors import SshJobsError, TransportError
from ..launchers.before import add_after, read_after, split_after
from ..locks import FileLock
from ..model import RECORDED
from ..rounds.needs import require_intents_served
from ..startup.contexts import closing
from ..startup.records import TYPE_CHECKING
from ..store import FAILED, slices
from .context import Context
from .fanout import work_side_by_side
from .hold import BatchHolds
from .pool_hosts import PoolHosts
from .submit import (
    JobRequest,
    KnownJob,
    Submitted,
    build_job,
    build_submitted,
    check_job_request,
    find_known_job,
    read_outcomes,
)
from .withdraw import leave_what_was_sent, withdraw_unsent

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from ..store.jobs import Batch

#: A host that fails is borne for so many seconds while there are others: jobs that
#: were not sent go to these.
_BRIEF = 5.0

#: To write down more jobs than that takes longer than other submits should wait for.
_MANY = 1000


class _KeyPlaced(Exception):
    """Another process has placed a job of a key, between a look and our writing."""


def submit_jobs_to_pool(
    ctx: Context, host: str, job_requests: Iterable[JobRequest], *, follow: bool = False
) -> list[Submitted]:
    """Start jobs on the hosts of a pool; see :func:`submit_each_job_to_pool`."""
    with closing(
        submit_each_job_to_pool(ctx, host, job_requests, follow=follow)
    ) as results:
        return list(results)


def submit_each_job_to_pool(
    ctx: Context, host: str, job_requests: Iterable[JobRequest], *, follow: bool = False
) -> Generator[Submitted, None, None]:
    """Start jobs on the hosts of a pool, each on the one with the most free room.

    The batch is read whole, and written down in one transaction. The first result
    comes once each job has started, or no host takes it.

    Args:
        host: ``pool:NAME``.
        follow: As of :func:`.submit.submit_jobs`.

    Yields:
        One entry a request, in the order of the requests.

    Raises:
        SpecError: there is no such pool, or a request is wrong; nothing was done.
        HostUnreachable: no host can be reached; nothing ran, nothing will.
        NotYet: sent, and unanswered, at least one of them; ``job_ids`` as of
            :func:`.submit.submit_jobs`.
    """
    with ExitStack() as stack:
        call = _PoolSubmit(ctx, host, follow, stack)
        call.read_requests(job_requests)
        try:
            call.place_all()
            yield from call.yield_results()
        finally:
            ctx.store.intents.drop_intents([*call.numbers.values(), *call.logs])


class _PoolSubmit:
    """One batch on its way to the hosts of a pool.

    A *place* is the number of a request in the batch, from 0 on.

    Args:
        stack: Closes the contexts of hosts with the call.

    Attributes:
        numbers: By place, the intents that were served.
        logs: The intents for the logs of jobs, until these are known to have started.
    """

    def __init__(self, ctx: Context, pool: str, follow: bool, stack: ExitStack) -> None:
        self._ctx = ctx
        self._hosts = PoolHosts(ctx, pool, stack)
        self._follow = follow
        self._requests: list[JobRequest] = []
        self.numbers: dict[int, int] = {}
        self.logs: list[int] = []
        self._known: dict[int, KnownJob] = {}  # by place
        self._refused: dict[int, SshJobsError] = {}
        self._unanswered: dict[int, str] = {}  # ids of jobs

    def read_requests(self, job_requests: Iterable[JobRequest]) -> None:
        """Read the batch, and check each request as each host would get it."""
        tables = self._ctx.config.get("host", ())
        hosts = [m.host for m in self._hosts.members.values() if m.host in tables]
        for request in job_requests:
            self._requests.append(check_job_request(request))
            for host in hosts:
                check_job_request(_fit_to_host(request, host))

    def place_all(self) -> None:
        """Place the jobs and wait for their starts, until each has its outcome."""
        every = range(len(self._requests))
        later = [place for place in every if read_after(self._requests[place].spec)]
        after = set(later)
        starts: dict[str, dict[int, int]] = {}
        try:
            # Those that come after others are written down once these move no more.
            for some in ([place for place in every if place not in after], later):
                places: Sequence[int] = some
                while places:
                    starts = self._write_down(places)
                    places = self._wait_until_started(starts)
        except BaseException:
            rest = [number for numbers in starts.values() for number in numbers]
            rest += self.numbers.values()
            left = leave_what_was_sent(self._ctx.store, rest, not self._follow)
            self._ctx.sent_ids += [*left, *self._unanswered.values()]
            raise

    def _write_down(self, places: Sequence[int]) -> dict[str, dict[int, int]]:
        """Choose hosts and write jobs with their intents down, all or none.

        Returns:
            By site, the place of each number of an intent.
        """
        path = os.path.join(self._ctx.store.home, "locks", "pools")
        with FileLock(path) as lock:
            lock.hold()
            while True:
                plan = self._choose_sites(places)
                if len(places) > _MANY:
                    # It matters to the balance alone: keys are looked up once more.
                    lock.release()
                try:
                    return self._write_plan(plan)
                except _KeyPlaced:
                    continue

    def _choose_sites(self, places: Sequence[int]) -> dict[int, str]:
        """Return the site of each job; one that has none is refused."""
        sites = self._hosts.deal_sites(len(places))
        by_key: dict[str, str] = {}
        plan: dict[int, str] = {}
        for place in places:
            key = self._requests[place].key
            site_id = by_key.get(key) or self._hosts.find_holder(key) if key else ""
            if site_id in self._hosts.errors:
                self._refused[place] = self._hosts.explain_key(key, site_id)
                continue
            site_id = site_id or next(sites, "")
            if not site_id:
                self._refused[place] = self._hosts.explain_no_host()
                continue
            plan[place] = site_id
            if key:
                by_key[key] = site_id
        return plan

    def _write_plan(self, plan: dict[int, str]) -> dict[str, dict[int, int]]:
        """Write jobs down on their sites; see :meth:`_write_down`.

        Raises:
            _KeyPlaced: the key of one is on another host by now; nothing was written.
        """
        store = self._ctx.store
        holds = BatchHolds(store, is_pool=True)
        with store.files.hold_off_sweep(), store.jobs.collect_batch() as batch:
            places, waiting = self._build_jobs(plan, batch, holds)
            with store.begin_write(durable=bool(holds)):
                for place, site_id in plan.items():
                    key = self._requests[place].key
                    if key and self._hosts.find_holder(key) not in ("", site_id):
                        raise _KeyPlaced
                batch.store()
                starts = {}
                for site_id, of_id in places.items():
                    numbers = store.intents.add_intents(site_id, "start", of_id)
                    starts[site_id] = dict(zip(numbers, of_id.values()))
                    if self._follow:
                        self.logs += store.intents.add_intents(site_id, "log", of_id)
                holds.write_down()
        self._known |= waiting
        return starts

    def _build_jobs(
        self, plan: dict[int, str], batch: Batch, holds: BatchHolds
    ) -> tuple[dict[str, dict[str, int]], dict[int, KnownJob]]:
        """Put the jobs of a plan into the batch.

        Returns:
            By site, the places of those to start by their ids; by its place, each job
            that waits here.
        """
        store, now = self._ctx.store, time.time()
        places: dict[str, dict[str, int]] = {}
        waiting: dict[int, KnownJob] = {}
        for place, site_id in plan.items():
            member = self._hosts.members[site_id]
            request = _fit_to_host(self._requests[place], member.host)
            known = find_known_job(member.coordinator, request)
            if known is not None:
                self._known[place] = known
                continue
            job = build_job(member.coordinator, request, now + place * 1e-6)
            batch.add(job._replace(pool=self._hosts.pool))
            spec = holds.take_spec(job, request.spec)
            if job.digest != RECORDED:
                store.files.save_spec(job.id, spec)
            if request.notify:
                store.files.save_notify(job.id, request.notify)
            if job.id in holds:
                waiting[place] = KnownJob(job.id)
            else:
                places.setdefault(site_id, {})[job.id] = place
        return places, waiting

    def _wait_until_started(self, starts: dict[str, dict[int, int]]) -> list[int]:
        """Wait for the starts on all sites; return the places of jobs to move.

        Each site is taken out of ``starts`` once its outcomes are known.
        """
        flags = {}
        if not self._hosts.is_patient and len(self._hosts.members) > 1:
            patience = min(_BRIEF, self._ctx.settings("").wait_host)
            flags = {"wait_host": patience, "conn_retry_attempts": 1}
        own = self._ctx.open_for_thread(**flags)
        own.interrupts = self._ctx.interrupts

        def wait_there(theirs: Context, site_id: str) -> bool:
            member, numbers = self._hosts.members[site_id], list(starts[site_id])
            with (
                theirs.coordinator(member.host)
                if member.is_current
                else theirs.coordinator_at(site_id)
            ) as coordinator:
                need = require_intents_served(coordinator.site, numbers)
                return coordinator.wait_for(need).is_met

        moved: list[int] = []
        try:
            for site_id, result in work_side_by_side(own, starts, wait_there):
                error = result if isinstance(result, SshJobsError) else None
                moved += self._sort_outcomes(site_id, starts[site_id], error)
                del starts[site_id]
        finally:
            own.close()
        return sorted(moved)

    def _sort_outcomes(
        self, site_id: str, places: dict[int, int], error: SshJobsError | None
    ) -> list[int]:
        """Take note of the outcomes of the jobs of a host; return the places to move.

        Those are jobs that were not sent, and that the host cannot start.
        """
        store = self._ctx.store
        with store.begin_write(
            durable=error is not None
        ):  # others may serve it right now
            open_ids, refused, refusal = self._take_served(places)
            numbers = list(open_ids)
            gone, kept = withdraw_unsent(store, numbers) if numbers else ([], [])
        error = error or refusal
        waiting = set(kept)
        moved = [places[number] for number in refused]
        for number, job_id in open_ids.items():
            if job_id in waiting:
                self._unanswered[places[number]] = job_id
            else:
                moved.append(places[number])
        if error is None or not (moved or kept):
            return []
        self._hosts.errors[site_id] = error
        if not _is_of_host(error):
            self._refused |= dict.fromkeys(moved, error)
            return []
        if moved and not self._hosts.is_patient:
            host = self._hosts.members[site_id].host
            text = f"{host}: {getattr(error, 'detail', error)}"
            which = "its job goes" if len(moved) == 1 else f"its {len(moved)} jobs go"
            self._ctx.say(f"{text}; {which} to another host of {self._hosts.pool}")
        return moved

    def _take_served(
        self, places: dict[int, int]
    ) -> tuple[dict[int, str], list[int], SshJobsError | None]:
        """Take note of the starts that were served.

        Returns:
            The ids of the others by number, the numbers of those that the host cannot
            start, and why the last of these.
        """
        store, refusal = self._ctx.store, None
        open_ids: dict[int, str] = {}
        refused: list[int] = []
        for some in slices(list(places)):
            for number, intent in store.intents.read_outcomes(some).items():
                error = errors.load(intent.note) if intent.outcome == FAILED else None
                if not intent.done:
                    open_ids[number] = intent.job_id
                elif _is_of_host(error):
                    refusal = error
                    refused.append(number)
                else:
                    self.numbers[places[number]] = number
        store.intents.drop_intents(refused)
        return open_ids, refused, refusal

    def yield_results(self) -> Iterator[Submitted]:
        """Yield the outcome of each request, in the order of the batch.

        Raises:
            SshJobsError: nothing of it ran, or some of it is unanswered.
        """
        if self._unanswered:
            raise self._build_unanswered_error()
        if self._refused and not (self.numbers or self._known):
            raise next(iter(self._refused.values()))
        store = self._ctx.store
        for some in slices(range(len(self._requests))):
            numbers = [self.numbers[at] for at in some if at in self.numbers]
            served = iter(read_outcomes(store, numbers))
            for place in some:
                known = self._known.get(place)
                if place in self.numbers:
                    yield next(served)
                elif known is not None:
                    job = store.jobs.find_job(known.job_id)
                    yield build_submitted(known.job_id, job, known.outcome)
                else:
                    yield Submitted(None, self._refused[place])

    def _build_unanswered_error(self) -> errors.NotYet:
        numbers = list(self.numbers.values())
        ids = {
            number: "" if intent.outcome == FAILED else intent.job_id
            for some in slices(numbers)
            for number, intent in self._ctx.store.intents.read_outcomes(some).items()
        }
        every = {place: ids[number] for place, number in self.numbers.items()}
        every |= {place: known.job_id for place, known in self._known.items()}
        every |= self._unanswered
        last = next(error for error in reversed(self._hosts.errors.values()))
        count = f"{len(self._unanswered)} of {len(self._requests)} jobs"
        return errors.NotYet(
            f"{self._hosts.pool}: {count} were sent, and their hosts have not answered "
            f"yet; the next sshjobs poll asks them again. The last try: {last}",
            tuple(every.get(place, "") for place in range(len(self._requests))),
        )


def _fit_to_host(request: JobRequest, host: str) -> JobRequest:
    """Return a request with the settings of its host."""
    if request.for_host is None:
        return request
    fitted: JobRequest = request.for_host(host)
    # Names of the batch are known by now that were not when its line was read.
    _, after = split_after(request.spec)
    spec = add_after(split_after(fitted.spec)[0], after)
    return fitted._replace(id=request.id, spec=spec)


def _is_of_host(error: SshJobsError | None) -> bool:
    """Tell whether another host may take a job that this error kept from one."""
    kinds = (TransportError, errors.ProtocolError, errors.HostError)
    return isinstance(error, kinds)
