"""Gathers the facts of a report, from the record on this machine.

A host is asked for nothing but the ends of logs that are not here yet.
"""

from __future__ import annotations

import os
import time
from collections import deque

from .. import states
from ..errors import StoreError, of_system
from ..model import Job
from ..protocol.frames import MAX_INSTANT
from ..rounds.log_state import is_log_cut, is_log_wanted
from ..startup.contexts import suppress
from ..startup.records import Record
from ..store import SiteRow
from ..store.database import describe_damage
from ..store.traffic import TrafficRow
from .context import Context
from .last_lines import bring_short_logs, read_log_end
from .selection import Criteria, select_recorded_jobs

#: So many jobs, the newest, are drawn; so many that ended badly are shown with a log.
MOST_JOBS = 5000
MOST_LOGS = 100

#: So much of the end of a log is read.
_END = 8192


class Report(Record):
    """All that a report shows."""

    selection: str  #: the words of the call, "" for all jobs
    made_at: float
    jobs: list[Job]  #: oldest first
    total: int  #: how many are meant; more than ``jobs`` if they are very many
    logs: dict[str, bytes | None]  #: ends of logs by id, None if it is not here
    sites: list[SiteRow]  #: the ledgers of the connections of these jobs
    traffic: list[TrafficRow]  #: and these by time, from the first job to the last


def gather_report(ctx: Context, criteria: Criteria) -> Report:
    """Return the report of the jobs that a call means; of all without a word of it.

    A host that does not answer within seconds hinders nothing: the report says which
    ends of logs are missing.

    Raises:
        JobNotFound, NothingSelected, SpecError: see ``select_jobs``.
        StoreError: an instant of the record is damaged: no axis has a place for it.
    """
    newest: deque[Job] = deque(maxlen=MOST_JOBS)
    total = 0
    for job in select_recorded_jobs(ctx, criteria):
        _check_instants(ctx.store.path, job)
        newest.append(job)
        total += 1
    jobs = sorted(newest, key=lambda job: job.submitted_at)
    bad = [job for job in jobs if is_bad(job)][-MOST_LOGS:]
    bring_short_logs(ctx, bad)
    home = ctx.store.jobs.find_jobs(job.id for job in bad)
    logs: dict[str, bytes | None] = dict.fromkeys(job.id for job in bad)
    for job in home.values():
        # A file that somebody deleted is no log.
        with suppress(OSError, StoreError):
            if not (is_log_wanted(job) or is_log_cut(job)):
                logs[job.id] = read_log_end(ctx.store, job, _END)
    known = {job.site_id for job in jobs}
    sites = [row for row in ctx.store.sites.list_sites() if row.site_id in known]
    now = time.time()
    since = jobs[0].submitted_at if jobs else now
    until = max((_last_instant(job, now) for job in jobs), default=now)
    traffic = [
        part
        for row in sites
        for part in ctx.store.traffic.read_minutes(row.site_id, since)
        if part.at <= until
    ]
    return Report(str(criteria), now, jobs, total, logs, sites, traffic)


def _last_instant(job: Job, now: float) -> float:
    """Return when a job ended, or now if it may still run."""
    if not states.is_final(job.state):
        return now
    return max(job.submitted_at, job.finished_at or 0.0)


def _check_instants(path: str, job: Job) -> None:
    for at in (job.submitted_at, job.started_at, job.finished_at):
        if at is not None and not abs(at) < MAX_INSTANT:
            raise describe_damage(path, "instant of job", job.id, at)


def is_bad(job: Job) -> bool:
    """Tell whether a job ended otherwise than well."""
    return states.is_final(job.state) and job.state != states.COMPLETED


def write_report(path: str, text: str) -> None:
    """Write a page into a file of its own, whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    data = text.encode("utf-8")
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe, /dev/stdout
            with open(path, "wb") as file:
                file.write(data)
            return
        path = os.path.realpath(path)  # of a link, the file that it leads to
        new = f"{path}.{os.getpid()}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            with open(os.open(new, flags, 0o666), "wb") as file:
                file.write(data)
            os.replace(new, path)
        except BaseException:
            if os.path.lexists(new):
                os.unlink(new)
            raise
    except OSError as error:
        raise of_system(path, error) from error
