"""The jobs that a call means, found in this machine's record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import states
from ..errors import JobNotFound, SpecError
from ..model import Job
from ..startup.records import Record
from ..store import Store, slices
from .context import Context

#: Follows the id or key of a job.
_NO_SUCH_JOB = "no such job in this machine's record. It has these:\nsshjobs list"


def find_job(ctx: Context, text: str, host: str | None = None) -> Job:
    """Return the job that an id, a unique beginning of one, or ``key:K`` names.

    Raises:
        JobNotFound: none does, or several do.
        SpecError: the key is empty, as of a variable that was not set.
    """
    if text == "key:":
        raise SpecError("key: of no job: the key is empty")
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
    raise JobNotFound(text, _NO_SUCH_JOB)


def find_site_ids(ctx: Context, host: str) -> list[str]:
    """Return the connections that ``--host`` means, those of other times among them.

    They have that name, or jobs that were submitted under it; where flags of ssh say
    which of these is meant, it is the one that these lead to.

    Raises:
        SpecError: there is none: a name that was never used here is a slip.
    """
    every = ctx.store.hosts()
    known = {site_id for _, site_id in ctx.store.active_ids(host)}
    rows = [row for row in every if row.host == host or row.site_id in known]
    if not rows:  # asked last, since it reads all jobs
        known = set(ctx.store.sites_of_jobs(host))
        rows = [row for row in every if row.site_id in known]
    if rows and ctx.is_told_where:
        key = ctx.identity(host, ctx.settings(host)).key
        from ..transports import Identity

        rows = [row for row in rows if Identity.from_bytes(row.identity).key == key]
    if not rows:
        raise SpecError(
            f"--host {host}: this machine's record has no such host. It has these:\n"
            "sshjobs hosts"
        )
    return [row.site_id for row in rows]


class Selection(Record):
    """The ids of the jobs that a call means, by connection: there may be very many."""

    every: dict[str, list[str]]
    active: dict[str, list[str]]  # those that may still change
    named: bool = False


def select_jobs(
    ctx: Context, names: Sequence[str], host: str | None, key: str | None
) -> Selection:
    """Return the jobs that a call names; all that are active if it names none."""
    if key is not None:
        names = [*names, f"key:{key}"]
    sites = None if host is None else find_site_ids(ctx, host)
    if not names:
        active: dict[str, list[str]] = {}
        for job_id, site_id in ctx.store.active_ids(host):
            if sites is None or site_id in sites:
                active.setdefault(site_id, []).append(job_id)
        return Selection(active, active)
    return _select_named_jobs(ctx, names, host, sites)


def _select_named_jobs(
    ctx: Context, names: Sequence[str], host: str | None, sites: list[str] | None
) -> Selection:
    every: dict[str, dict[str, bool]] = {}
    active: dict[str, list[str]] = {}
    for name in names:
        job = find_job(ctx, name, host)
        if sites is not None and job.site_id not in sites:
            raise JobNotFound(name, f"is one of host {job.host}, not of --host {host}")
        every.setdefault(job.site_id, {})[job.id] = not states.is_final(job.state)
    for site_id, ids in every.items():
        lively = [job_id for job_id, is_active in ids.items() if is_active]
        if lively:
            active[site_id] = lively
    return Selection(
        {site_id: list(ids) for site_id, ids in every.items()}, active, True
    )


class UnfinishedJobs:
    """Jobs that may still change, of which fewer and fewer are looked at.

    Args:
        store: The store.
        ids: The jobs.
    """

    def __init__(self, store: Store, ids: Sequence[str]) -> None:
        self._store = store
        self._pieces = list(slices(ids))

    def any(self) -> bool:
        """Tell whether one of them may still change; a final state stays."""
        while self._pieces:
            if self._store.count_active(self._pieces[-1]):
                return True
            self._pieces.pop()
        return False


def select_recorded_jobs(
    ctx: Context, *, host: str | None = None, state: str | None = None
) -> Iterator[Job]:
    """Yield the jobs of the record, oldest first; no host is asked."""
    sites = None if host is None else find_site_ids(ctx, host)
    for job in ctx.store.select(states=(state,) if state else ()):
        if sites is None or job.site_id in sites:
            yield job
