"""Bringing records home, then deleting the directories on the hosts."""

from __future__ import annotations

import time

from .. import errors, protocol, states
from ..errors import SshJobsError
from ..model import Job
from ..rounds import Coordinator
from ..rounds.log_state import (
    count_bytes,
    has_known_bytes,
    is_log_cut,
    is_log_wanted,
    wants_cleanup,
)
from ..rounds.needs import require_fresh_round, require_intents_served
from ..startup.contexts import suppress
from ..startup.records import TYPE_CHECKING
from ..store import Store, slices
from ..store.queries import is_pattern
from .adopt import (
    adopt_listed_jobs,
    build_adopted_job,
    describe_odd_entries,
    list_directories,
    select_unknown_jobs,
)
from .context import Context
from .fanout import HostResults, Show, work_side_by_side
from .selection import ALL, Criteria, Selection, find_site_ids, select_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


_NOT_HOME = "not reaped: its log could not be brought home"

#: What more there is to say of it where there is room for the log here.
_SHORT = (
    ": {0} of its {1} bytes are here, and the host gave no more of them (its file was "
    "made shorter there, or cannot be read); to let go of the rest, remove "
    "{2}/jobs/{3} on the host and reap again"
)

_CUT = (
    "not reaped: the setting max_log_bytes has left a part of its log on the host: "
    "bring that with sshjobs logs JOB --whole, or give it up with sshjobs reap "
    "--cut-logs"
)


def reap_jobs(
    ctx: Context,
    criteria: Criteria = ALL,
    *,
    older_than: float = 0.0,
    orphans: bool = False,
    dry_run: bool = False,
    cut_logs: bool = False,
    show: Show | None = None,
) -> HostResults:
    """Bring ended jobs home and delete their directories on the hosts.

    Jobs reaped longer than ``record_ttl`` ago are dropped from the record as well.

    Args:
        criteria: The jobs that are meant; hosts at most: all that have ended there.
        older_than: Only jobs that ended at least so many seconds ago.
        orphans: Also directories that the store does not know.
        dry_run: Return the jobs that would go, delete nothing.
        cut_logs: Also jobs whose logs ``max_log_bytes`` has cut: the rest is lost then.
        show: Takes the jobs of each host when that host is done; none are kept then.
    """
    before = time.time() - older_than if older_than else float("inf")
    results = HostResults(show)
    refused: list[SshJobsError] = []

    def reap_there(own: Context, site_id: str) -> tuple[list[str], list[Job]]:
        with own.coordinator_at(site_id) as coordinator:
            ids, strange = _find_ended_jobs(coordinator, before, meant), list[Job]()
            if orphans:
                notes = results.notes
                more, strange = _take_up_orphans(
                    coordinator, older_than, notes, dry_run
                )
                ids = list(dict.fromkeys([*ids, *more]))
        if not dry_run and ids:
            ids = _reap_on_site(own, site_id, ids, refused, cut_logs=cut_logs)
        return ids, strange

    meant = None if criteria.is_open else _select_known_jobs(ctx, criteria, orphans)
    site_ids = meant.every if meant else _choose_site_ids(ctx, criteria.hosts)
    if not dry_run and criteria.is_open:
        _prune_old_records(ctx, site_ids, results.notes)
    for _, result in work_side_by_side(ctx, site_ids, reap_there):
        _add_result(ctx, results, result)
    results.errors.extend(refused)
    if meant:
        results.notes += _describe_other_jobs(ctx.store, meant, results)
    ctx.store.sweep_specs()
    return results


def _add_result(
    ctx: Context,
    results: HostResults,
    result: tuple[list[str], list[Job]] | SshJobsError,
) -> None:
    """Add what came of one site: ids of jobs of the record, and jobs of others."""
    if isinstance(result, SshJobsError):
        results.errors.append(result)
    else:
        results.take_from_record(ctx.store, result[0])
        results.add_jobs(result[1])


def _select_known_jobs(ctx: Context, criteria: Criteria, orphans: bool) -> Selection:
    if orphans:
        raise errors.SpecError(
            "--orphans: this machine's record has no name for such jobs; only --host, "
            "--older-than and --dry-run go with it"
        )
    return select_jobs(ctx, criteria, every_attempt=True)


def _find_ended_jobs(
    coordinator: Coordinator, before: float, meant: Selection | None
) -> list[str]:
    """Return the ended jobs of a site that are not reaped; ask if some may have ended.

    Args:
        before: Only jobs that ended before this instant.
        meant: Only jobs of these.
    """
    store = coordinator.store
    if store.jobs.has_active(coordinator.site_id):
        coordinator.wait_for(require_fresh_round(coordinator.site, coordinator.clock()))
    ids = store.jobs.list_unreaped(coordinator.site_id, before)
    wanted = set(meant.every[coordinator.site_id] if meant else ids)
    return [job_id for job_id in ids if job_id in wanted]


def _choose_site_ids(ctx: Context, hosts: Sequence[str]) -> list[str]:
    """Return the connections of hosts, the present ones among them; or all."""
    rows = ctx.store.sites.list_sites()
    if not hosts:
        return [row.site_id for row in rows]
    found: dict[str, None] = {}
    for host in hosts:
        if not is_pattern(host):
            with ctx.coordinator(host) as coordinator:
                found[coordinator.site_id] = None
        found.update(dict.fromkeys(find_site_ids(ctx, host)))
    return list(found)


def _describe_other_jobs(
    store: Store, meant: Selection, results: HostResults
) -> Iterator[str]:
    """Yield remarks on jobs that were meant, and that nothing was done about."""
    count = sum(
        store.jobs.count_active(some)
        for ids in meant.active.values()
        for some in slices(ids)
    )
    if count:
        what = "1 job has" if count == 1 else f"{count} jobs have"
        yield f"{what} not ended, and cannot be reaped"
    elif meant.every and not (results.states or results.errors):
        yield "nothing to reap: each of these jobs was reaped before, or is too young"


def _prune_old_records(ctx: Context, site_ids: Iterable[str], notes: list[str]) -> None:
    """Drop jobs that were reaped long ago from the record, and say so."""
    for row in ctx.store.sites.list_sites():
        if row.site_id in site_ids:
            ttl = ctx.settings(row.host).record_ttl
            count = ctx.store.jobs.prune_jobs(row.site_id, time.time() - ttl)
            ctx.store.traffic.prune_minutes(row.site_id, time.time() - ttl)
            if count:
                what = "job" if count == 1 else "jobs"
                notes.append(
                    f"{row.host}: dropped the records and logs of {count} {what} "
                    f"reaped more than {ttl / 86400:g} days ago"
                )


def _is_old(fact: protocol.Listed, older_than: float) -> bool:
    return states.is_final(fact.state) and fact.age >= older_than


def _take_up_orphans(
    coordinator: Coordinator, older_than: float, notes: list[str], dry_run: bool
) -> tuple[list[str], list[Job]]:
    """Return ended jobs that stand on the host and not in the record.

    Returns:
        The ids of those that are known now, and rows of those that are not to be.
    """
    if dry_run:
        return [], _list_unrecorded_jobs(coordinator, older_than, notes)
    return list(_adopt_ended_jobs(coordinator, older_than, notes)), []


def _adopt_ended_jobs(
    coordinator: Coordinator, older_than: float, notes: list[str]
) -> Iterator[str]:
    """Take up ended jobs that stand on the host and not in the record."""
    ids, odd = adopt_listed_jobs(coordinator, lambda fact: _is_old(fact, older_than))
    notes += odd
    for some in slices(ids):
        for job in coordinator.store.jobs.find_jobs(some).values():
            if states.is_final(job.state):
                yield job.id


def _list_unrecorded_jobs(
    coordinator: Coordinator, older_than: float, notes: list[str]
) -> list[Job]:
    """Return those jobs as rows that nobody has written down."""
    listed = list_directories(coordinator)
    notes += describe_odd_entries(coordinator, listed)
    now = coordinator.clock()
    return [
        build_adopted_job(coordinator, fact, now)._replace(state=fact.state)
        for fact in select_unknown_jobs(coordinator, listed)
        if _is_old(fact, older_than)
    ]


def _reap_on_site(
    ctx: Context,
    site_id: str,
    ids: list[str],
    refused: list[SshJobsError],
    *,
    cut_logs: bool = False,
) -> list[str]:
    """Reap these ended jobs of one host; return those that are gone there."""
    with ctx.coordinator_at(site_id) as coordinator:
        _bring_cut_logs(coordinator, ids)
        known = (coordinator.store.jobs.find_jobs(some) for some in slices(ids))
        keep = {job.id for jobs in known for job in jobs.values() if is_log_cut(job)}
        if cut_logs:
            with coordinator.store.begin_write():
                for job_id in keep:
                    coordinator.store.jobs.update_job(job_id, log_final=True)
        else:
            refused += (errors.JobError(job_id, _CUT) for job_id in keep)
            ids = [job_id for job_id in ids if job_id not in keep]
        numbers = coordinator.store.intents.add_intents(
            coordinator.site_id, "reap", ids
        )
        try:
            coordinator.wait_for(
                _end_without_progress(
                    coordinator, require_intents_served(coordinator.site, numbers), ids
                )
            )
            refused += _yield_refusals(coordinator, numbers)
        finally:
            coordinator.store.intents.drop_intents(numbers)
        return list(_yield_gone_ids(coordinator.store, ids))


def _bring_cut_logs(coordinator: Coordinator, ids: list[str]) -> None:
    """Bring logs home up to ``max_log_bytes``, so that they are cut there."""
    store = coordinator.store
    short = [
        job.id
        for some in slices(ids)
        for job in store.jobs.find_jobs(some).values()
        if job.max_log_bytes and is_log_wanted(job)
    ]
    if not short:
        return
    numbers = store.intents.add_intents(coordinator.site_id, "log", short)

    def need() -> float | None:
        for some in slices(short):
            if any(is_log_wanted(job) for job in store.jobs.find_jobs(some).values()):
                return 0.0
        return None

    try:
        coordinator.wait_for(_end_without_progress(coordinator, need, short))
    finally:
        store.intents.drop_intents(numbers)


def _yield_refusals(
    coordinator: Coordinator, numbers: list[int]
) -> Iterator[SshJobsError]:
    """Yield an error for each job that was not reaped."""
    for some in slices(numbers):
        for intent in coordinator.store.intents.read_outcomes(some).values():
            if intent.note:
                yield errors.load(intent.note)
            elif not intent.done:
                why = _NOT_HOME + _describe_rest(coordinator, intent.job_id)
                yield errors.JobError(intent.job_id, why)


def _describe_rest(coordinator: Coordinator, job_id: str) -> str:
    """Return why a log is not home, and the way out."""
    job = coordinator.store.jobs.find_job(job_id)
    if not coordinator.site.measure_room():
        return ": no room on this machine's disk, see the setting min_free_bytes"
    if job is None or has_known_bytes(job):
        return ""
    base = coordinator.settings.remote_base_dir
    return _SHORT.format(*count_bytes(job), base, job_id)


def _yield_gone_ids(store: Store, ids: list[str]) -> Iterator[str]:
    """Yield those of these jobs whose directories are gone."""
    for some in slices(ids):
        known = store.jobs.find_jobs(some)
        for job_id in some:
            if job_id in known and known[job_id].reaped_at is not None:
                yield job_id


def _end_without_progress(
    coordinator: Coordinator, need: Callable[[], float | None], ids: Sequence[str]
) -> Callable[[], float | None]:
    """Give a need up once ``cleanup_retries`` rounds have brought it no further.

    A round is a step if more of these jobs are gone, or more bytes of their logs home.
    """
    store = coordinator.store
    marks: list[tuple[int, tuple[int, int]]] = []

    def need_with_progress() -> float | None:
        rounds = coordinator.site.row().rounds
        if not marks or rounds > marks[-1][0]:
            now = (
                store.jobs.count_local_bytes(ids),
                sum(1 for _ in _yield_gone_ids(store, list(ids))),
            )
            if not marks or now != marks[-1][1]:
                marks[:] = [(rounds, now)]
        if rounds - marks[-1][0] > coordinator.settings.cleanup_retries:
            return None
        return need()

    return need_with_progress


def reap_job(ctx: Context, job: Job) -> Job:
    """Bring one ended job home, delete its directory, and return it.

    Raises:
        NotYet: it has not ended.
        JobError: its log could not be brought home; nothing was deleted.
    """
    if job.reaped_at is not None:
        return job
    if not states.is_final(job.state):
        raise errors.NotYet(f"job {job.id} is {job.state}: not reaped", (job.id,))
    refused: list[SshJobsError] = []
    _reap_on_site(ctx, job.site_id, [job.id], refused)
    if refused:
        raise refused[0]
    return ctx.store.jobs.find_job(job.id) or job


def reap_if_wanted(ctx: Context, job: Job) -> Job:
    """Delete the directory of an ended job if it is to go; never fail for it."""
    if not wants_cleanup(job) or job.reaped_at is not None:
        return job
    with suppress(SshJobsError):
        _reap_on_site(ctx, job.site_id, [job.id], [])
    return ctx.store.jobs.find_job(job.id) or job
