"""The jobs that a call means, found in this machine's record."""

from __future__ import annotations

import time

from .. import states
from ..errors import JobNotFound, NothingSelected, SpecError
from ..model import LAUNCHERS, POOL, Job, is_job_id, printable
from ..startup.records import TYPE_CHECKING, Record
from ..store import Store, slices
from .context import Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..store.queries import Condition

#: Follows a word for which there is no job.
_NO_SUCH_JOB = "no such job in this machine's record. It has these:\nsshjobs list"

#: How many of the jobs that a word may mean are shown.
_SHOWN = 8


class Criteria(Record):
    """The jobs that a call means: each condition that it names must hold.

    A condition holds if one of its values does. Names, keys and hosts may be patterns
    as of a shell. If it names hosts at most, all active jobs are meant.
    """

    jobs: Sequence[str] = ()  # ids, unique beginnings, names, key:K
    hosts: Sequence[str] = ()
    names: Sequence[str] = ()
    keys: Sequence[str] = ()
    states: Sequence[str] = ()
    since: str = ""
    allow_empty: bool = False  # to mean no job is no error

    @property
    def is_open(self) -> bool:
        """Tell whether it says at most on which hosts the jobs are."""
        return not any((self.jobs, self.names, self.keys, self.states, self.since))

    def __str__(self) -> str:
        words = list(self.jobs)
        for flag, values in (
            ("--host", self.hosts),
            ("--name", self.names),
            ("--key", self.keys),
            ("--state", self.states),
            ("--since", [self.since] if self.since else ()),
        ):
            words += (f"{flag} {value}" for value in values)
        return " ".join(words)


#: Jobs of whatever name, key, state and host: all that are active.
ALL = Criteria()


class Selection(Record):
    """The ids of the jobs that a call means, by connection: there may be very many."""

    every: dict[str, list[str]]
    active: dict[str, list[str]]  # those that may still change
    named: bool = False
    by_id: bool = False  # each word of the call means one job, by its id


def find_job(ctx: Context, word: str, host: str | None = None) -> Job:
    """Return the one job that a word means; of a key, its newest attempt on any host.

    Raises:
        JobNotFound: it means none, or several.
        SpecError: the key is empty, as of a variable that was not set.
    """
    if word.startswith("key:") and word != "key:":
        jobs = ctx.store.jobs.find_by_key(word[4:], host)
        if jobs:
            return jobs[0]
    jobs = list(ctx.store.queries.search_jobs(_read_word(ctx, word)[0]))
    if len(jobs) == 1:
        return jobs[0]
    if not jobs:
        raise JobNotFound(word, _NO_SUCH_JOB)
    raise JobNotFound(word, _list_candidates("several jobs have that name", jobs))


def _list_candidates(what: str, jobs: Sequence[Job]) -> str:
    """Return the fault of a word that may mean several jobs, and the newest."""
    jobs = sorted(jobs, key=lambda job: job.submitted_at, reverse=True)
    lines = [
        printable(f"{job.id}  {job.state}  {job.host}  {job.name or job.key}").rstrip()
        for job in jobs[:_SHOWN]
    ]
    if len(jobs) > _SHOWN:
        lines.append(f"and {len(jobs) - _SHOWN} older ones")
    return "\n".join([f"{what}:", *lines])


def _read_word(
    ctx: Context, word: str, every_attempt: bool = False
) -> tuple[Condition, bool]:
    """Return the jobs that a word means, if any, and whether it means one by its id.

    The order is docker's: an id, a name, the beginning of an id; then a pattern of
    names. A job without a name goes by its key, as it does in a list.

    Raises:
        JobNotFound: it is the beginning of several ids.
        SpecError: the word is empty, or the key in it is.
    """
    from ..store import queries

    if not word:
        raise SpecError("a JOB is empty, as of a variable that was not set")
    if is_job_id(word) and ctx.store.jobs.find_job(word):
        return queries.equals("id", word), True
    newest = queries.ALWAYS if every_attempt else queries.IS_NEWEST_ATTEMPT
    if word.startswith("key:"):
        return _read_pattern(ctx, "key", word[4:], word) & newest, False
    named = queries.equals(queries.LABEL, word)
    if ctx.store.queries.has_job(named):
        return named & newest, False
    jobs = ctx.store.jobs.find_by_prefix(word)
    if len(jobs) > 1:
        raise JobNotFound(word, _list_candidates("several ids begin so", jobs))
    if jobs:
        return queries.equals("id", jobs[0].id), True
    return _read_other_word(word) & newest, False


def _read_other_word(word: str) -> Condition:
    """Return the jobs of a scheduler's name (sj-ID, slurm:276) or of a pattern."""
    from ..store import queries

    if word.startswith("sj-") and is_job_id(word[3:]):
        return queries.equals("id", word[3:])
    launcher, _, number = word.partition(":")
    if launcher in LAUNCHERS and number.isdecimal():
        return queries.matches("handle", f"{word}:*")
    match = queries.matches if queries.is_pattern(word) else queries.equals
    return match(queries.LABEL, word)


def _read_pattern(ctx: Context, column: str, text: str, word: str) -> Condition:
    """Return the jobs whose column has a text, or else matches it as a pattern."""
    from ..store import queries

    if not text:
        raise SpecError(f"{word} of no job: the {column} is empty")
    exact = queries.equals(column, text)
    if queries.is_pattern(text) and not ctx.store.queries.has_job(exact):
        return queries.matches(column, text)
    return exact


def find_site_ids(ctx: Context, host: str) -> list[str]:
    """Return the connections that ``--host`` means, those of other times among them.

    They have that name, or jobs that were submitted under it; where flags of ssh say
    which of these is meant, it is the one that these lead to. Those of a pattern have
    jobs that were submitted under a name that matches; those of a pool are all of its
    hosts that were ever used.

    Raises:
        SpecError: there is none: a name that was never used here is a slip.
    """
    from ..store import queries

    if host.startswith(POOL):
        from ..scheduling.pools import read_pool

        members = read_pool(ctx.config, host)
        return list(
            {s: "" for member in members for s in _find_named_sites(ctx, member)}
        )
    if queries.is_pattern(host):
        found = ctx.store.queries.search_ids(queries.matches("host", host))
        site_ids = list(dict.fromkeys(site_id for _, site_id, _ in found))
    else:
        site_ids = _find_named_sites(ctx, host)
    if not site_ids:
        raise SpecError(
            f"--host {host}: this machine's record has no such host. It has these:\n"
            "sshjobs hosts"
        )
    return site_ids


def _find_named_sites(ctx: Context, host: str) -> list[str]:
    every = ctx.store.sites.list_sites()
    known = {site_id for _, site_id in ctx.store.jobs.iterate_active(host)}
    rows = [row for row in every if row.host == host or row.site_id in known]
    if not rows:  # asked last, since it reads all jobs
        known = set(ctx.store.jobs.list_sites(host))
        rows = [row for row in every if row.site_id in known]
    if rows and ctx.is_told_where:
        key = ctx.identity(host, ctx.settings(host)).key
        from ..transports import Identity

        rows = [row for row in rows if Identity.from_bytes(row.identity).key == key]
    return [row.site_id for row in rows]


def _read_hosts(ctx: Context, hosts: Sequence[str]) -> Condition:
    """Return the jobs that were submitted to one of these hosts.

    Raises:
        SpecError: a host is not known here.
    """
    from ..store import queries

    conditions = []
    for host in hosts:
        on_site = queries.is_one_of("site_id", find_site_ids(ctx, host))
        if host.startswith(POOL):
            conditions.append(on_site)
            continue
        match = queries.matches if queries.is_pattern(host) else queries.equals
        conditions.append(match("host", host) & on_site)
    return queries.join_any(conditions)


def read_criteria(ctx: Context, criteria: Criteria, now: float) -> Condition:
    """Return all conditions but those of JOB words as one.

    Raises:
        SpecError: a host is not known here, a key is empty, an instant is none.
    """
    from ..store import queries

    condition = _read_hosts(ctx, criteria.hosts)
    for column, texts in (("name", criteria.names), ("key", criteria.keys)):
        if texts:
            condition &= queries.join_any(
                [_read_pattern(ctx, column, text, f"--{column}") for text in texts]
            )
    if criteria.states:
        condition &= queries.is_one_of("state", criteria.states)
        if not any(map(states.is_final, criteria.states)):
            condition &= queries.IS_ACTIVE  # which has an index
    if criteria.since:
        from .instants import read_past_instant

        condition &= queries.was_active_since(read_past_instant(criteria.since, now))
    return condition


def select_jobs(
    ctx: Context, criteria: Criteria | Sequence[str], *, every_attempt: bool = False
) -> Selection:
    """Return the jobs that a call means, oldest first; see :class:`Criteria`.

    Args:
        criteria: Its conditions, or its JOB words.
        every_attempt: Older attempts of a key, too, not only its newest on each host.

    Raises:
        JobNotFound: a word means none, or a beginning several.
        NothingSelected: the conditions hold for none.
        SpecError: see :func:`read_criteria`.
    """
    if not isinstance(criteria, Criteria):
        criteria = Criteria(jobs=criteria)
    if criteria.is_open:
        return _select_active_jobs(ctx, criteria)
    from ..store import queries

    limits = read_criteria(ctx, criteria, time.time())
    found: dict[str, dict[str, str]] = {}  # by site the states, by id
    by_id = bool(criteria.jobs)
    for word in criteria.jobs:
        meant, is_id = _read_word(ctx, word, every_attempt)
        by_id = by_id and is_id
        if not _add_jobs(ctx, meant & limits, found) and not criteria.allow_empty:
            raise _describe_no_job(ctx, word, meant, criteria)
    if not criteria.jobs:
        newest = queries.ALWAYS if every_attempt else queries.IS_NEWEST_ATTEMPT
        if not _add_jobs(ctx, limits & newest, found) and not criteria.allow_empty:
            raise NothingSelected(str(criteria))
    return _sort_by_activity(found, bool(criteria.jobs), by_id)


def _select_active_jobs(ctx: Context, criteria: Criteria) -> Selection:
    """Return the jobs that are active, of some hosts or of all."""
    active: dict[str, list[str]] = {}
    if criteria.hosts:
        from ..store import queries

        on_hosts = _read_hosts(ctx, criteria.hosts)
        rows = ctx.store.queries.search_ids(on_hosts & queries.IS_ACTIVE)
        found = ((job_id, site_id) for job_id, site_id, _ in rows)
    else:
        found = (
            (job_id, site_id) for job_id, site_id in ctx.store.jobs.iterate_active()
        )
    for job_id, site_id in found:
        active.setdefault(site_id, []).append(job_id)
    return Selection(active, active)


def _add_jobs(
    ctx: Context, condition: Condition, found: dict[str, dict[str, str]]
) -> bool:
    """Add the jobs for which a condition holds; tell whether there are any."""
    is_empty = True
    for job_id, site_id, state in ctx.store.queries.search_ids(condition):
        found.setdefault(site_id, {})[job_id] = state
        is_empty = False
    return not is_empty


def _sort_by_activity(
    found: dict[str, dict[str, str]], named: bool, by_id: bool
) -> Selection:
    active = {
        site_id: [job_id for job_id in jobs if not states.is_final(jobs[job_id])]
        for site_id, jobs in found.items()
    }
    return Selection(
        {site_id: list(jobs) for site_id, jobs in found.items()},
        {site_id: ids for site_id, ids in active.items() if ids},
        named,
        by_id,
    )


def _describe_no_job(
    ctx: Context, word: str, meant: Condition, criteria: Criteria
) -> JobNotFound:
    """Return the error of a word for which no job is selected."""
    if ctx.store.queries.has_job(meant):
        limits = criteria._replace(jobs=())
        return JobNotFound(word, f"is not among those of {limits}")
    if word.startswith("key:"):
        return JobNotFound(word, "no job of that key in this machine's record")
    return JobNotFound(word, _NO_SUCH_JOB)


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
            if self._store.jobs.count_active(self._pieces[-1]):
                return True
            self._pieces.pop()
        return False


def select_recorded_jobs(
    ctx: Context, criteria: Criteria, *, every_attempt: bool = True
) -> Iterator[Job]:
    """Yield the jobs of the record, oldest first; no host is asked.

    Criteria that name hosts at most mean all jobs here, not the active ones alone.

    Raises:
        JobNotFound, NothingSelected, SpecError: see :func:`select_jobs`.
    """
    if criteria.is_open and not criteria.hosts:
        yield from ctx.store.jobs.iterate_jobs()
        return
    if criteria.jobs:
        found = select_jobs(ctx, criteria, every_attempt=every_attempt)
        ids = [job_id for jobs in found.every.values() for job_id in jobs]
        known = (
            job
            for some in slices(ids)
            for job in ctx.store.jobs.find_jobs(some).values()
        )
        yield from sorted(known, key=lambda job: (job.submitted_at, job.id))
        return
    from ..store import queries

    condition = read_criteria(ctx, criteria, time.time())
    if not every_attempt:
        condition &= queries.IS_NEWEST_ATTEMPT
    is_empty = not criteria.allow_empty
    for job in ctx.store.queries.search_jobs(condition):
        is_empty = False
        yield job
    if is_empty and not criteria.is_open:
        raise NothingSelected(str(criteria))
