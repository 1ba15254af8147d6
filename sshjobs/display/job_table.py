"""Jobs as a table for people, and the line that sums it up."""

from __future__ import annotations

from .. import states
from ..errors import AuthenticationError
from ..model import Job, printable
from ..startup.records import TYPE_CHECKING
from ..store import SiteRow
from ..verbs.overview import LATELY, Overview
from .look import Look
from .table import Cell, Column, yield_table_lines
from .text import (
    COLOURS,
    describe_age,
    find_seen_at,
    format_age,
    format_elapsed,
    format_end,
    format_iso,
    format_when,
    stale_age,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

#: On a narrow terminal ids are cut to a beginning of so many letters, which is 40 bits.
_SHORT_ID, _NARROW = 8, 110

#: Of a table of jobs.
COLUMNS = (
    Column("ID"),
    Column("STATE"),
    Column("HOST", 6),
    Column("AGE", is_right=True),
    Column("TIME", is_right=True),
    Column("END"),
    Column("NAME", 8),
)


def yield_overview_lines(view: Overview, look: Look) -> Iterator[str]:
    """Yield a table of jobs, the count of those that are not in it, and the sum."""
    if view.jobs:
        rows = [build_job_cells(job, view, look) for job in view.jobs]
        yield from yield_table_lines(COLUMNS, rows, look)
    if view.older:
        yield look.paint(f"and {view.older} older: --all", "2")
    dot = " · " if look.has_unicode else ", "
    yield dot.join(yield_sums(view, look))


def build_job_cells(job: Job, view: Overview, look: Look) -> list[Cell]:
    """Return the row of a job in a table of :data:`COLUMNS`."""
    age = stale_age(job, view.sites.get(job.site_id), view.now)
    state = job.state if age is None else f"{job.state}, {describe_age(age)}"
    title = job.name or job.key or job.command.strip().partition("\n")[0]
    short = look.is_terminal and look.width < _NARROW
    texts = [
        (job.id[:_SHORT_ID] if short else job.id, ""),
        (state, COLOURS[job.state] if age is None else "2"),
        (job.host, ""),
        (format_age(view.now - job.submitted_at), ""),
        (format_elapsed(job, view.now, age or 0.0), ""),
        (format_end(job), ""),
        (f"{title}  [{job.reason}]" if job.reason else title, ""),
    ]
    return [Cell(printable(text), colour) for text, colour in texts]


def yield_sums(view: Overview, look: Look) -> Iterator[str]:
    """Yield how many jobs are active or ended today, and hosts that do not answer."""
    for state, word in (
        (states.RUNNING, "running"),
        (states.PENDING, "pending"),
        (states.COMPLETED, "completed today"),
        (states.FAILED, "failed today"),
        (states.TIMEOUT, "timed out today"),
        (states.LOST, "lost today"),
        (states.CANCELLED, "cancelled today"),
    ):
        if view.counts.get(state):
            yield look.paint(f"{view.counts[state]} {word}", COLOURS[state])
    if not (view.counts or view.jobs or view.sites):
        yield "no jobs yet; sshjobs demo shows what they are, sshjobs --help says how"
    elif not view.counts:
        yield "no job is active, and none has ended today"
    yield from (look.paint(text, "31") for text in _yield_silent_hosts(view))


def _yield_silent_hosts(view: Overview) -> Iterator[str]:
    """Yield hosts that did not answer now, or lately, or that have active jobs."""
    failed = {getattr(error, "host", ""): error for error in view.errors}
    busy = {job.site_id for job in view.jobs if not states.is_final(job.state)}
    for row in view.sites.values():
        since = row.failing_since if 0.0 < row.failing_since <= view.now else 0.0
        if isinstance(failed.get(row.host), AuthenticationError):
            yield f"{printable(row.host)} refuses the login"
        elif (
            row.host in failed
            or since > view.now - LATELY
            or (since and row.site_id in busy)
        ):
            when = format_when(since or view.now, view.now)
            yield f"{printable(row.host)} unreachable since {when}"


def build_job_object(job: Job, sites: Mapping[str, SiteRow]) -> dict[str, Any]:
    """Return the object that ``--json`` of a list prints of a job."""
    row = job.public() | {"command": job.command, "cwd": job.cwd}
    for name in ("submitted", "started", "finished"):
        row[f"{name}_iso"] = format_iso(getattr(job, f"{name}_at"))
    row["reaped_at"] = job.reaped_at
    row["seen_at"] = find_seen_at(job, sites.get(job.site_id)) or None
    return row
