"""The screen of ``sshjobs top``: hosts, jobs, the end of a log, as lines that fit."""

from __future__ import annotations

from .. import states
from ..model import Job, printable
from ..rounds import cooldown_end
from ..startup.records import TYPE_CHECKING, Record
from .job_table import COLUMNS, build_job_cells, yield_sums
from .look import Look
from .rows import name_connection
from .table import Cell, Column, yield_table_lines
from .text import cut_to_width, format_age, format_span, measure_width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..errors import SshJobsError
    from ..verbs.hosts import HostState
    from ..verbs.overview import Overview

#: So many hosts are shown; more are counted.
_HOSTS = 6

KEYS = (
    ("up, k, down, j", "choose a job; Page up, Page down, Home, End too"),
    ("Enter, l", "follow its log; Ctrl-C comes back"),
    ("x", "end it, after a question"),
    ("/", "show only jobs with a text in any of their words"),
    ("s", "sort by the next column: age, name, host, state, time, end"),
    ("?", "show or hide this"),
    ("q, Ctrl-C", "leave; all jobs go on"),
)

_HOST_COLUMNS = (
    Column("HOST", 8),
    Column("CONNECTION"),
    Column("RUN", is_right=True),
    Column("WAIT", is_right=True),
    Column("SESSIONS", is_right=True),
    Column("ASKED", is_right=True),
    Column("", 8),
)


class TopView(Record):
    """All that one picture shows."""

    overview: Overview
    hosts: Sequence[HostState]
    failures: Mapping[str, SshJobsError]  # by site
    jobs: Sequence[Job]  # those that the filter leaves
    selected: int = 0  # index in jobs
    log: Sequence[str] = ()
    log_note: str = ""
    order: str = "age"
    prompt: str = ""  # in place of the keys
    has_help: bool = False


def build_top_lines(view: TopView, look: Look) -> list[str]:
    """Return the lines of a screen, as many as it is high, none wider than it."""
    height = max(look.height, 4)
    top = [_build_title(view, look), *_build_host_lines(view, look)]
    top = top[: max(1, height - 8)]
    log_height = max(2, (height - len(top)) // 3) if height > 14 else 0
    room = max(2, height - len(top) - log_height - 1)
    lines = top + _build_job_lines(view, look, room)
    if log_height:
        lines += _build_log_lines(view, look, height - 1 - len(lines))
    lines = lines[: height - 1] + [""] * (height - 1 - len(lines))
    keys = "q quit  ? help  Enter follow  x end  / filter  s sort"
    last = view.prompt or keys
    return [*lines, _cut(printable(last), look, "" if view.prompt else "2")]


def _cut(text: str, look: Look, colour: str = "") -> str:
    mark = "…" if look.has_unicode else "~"
    return look.paint(cut_to_width(text, look.width, mark), colour)


def _build_title(view: TopView, look: Look) -> str:
    """Return the line that sums it up; words at its end go where it is too long."""
    plain = look._replace(has_colour=False)
    sums = list(yield_sums(view.overview, plain))
    shown = f"{len(view.jobs)} shown, by {view.order}"
    dot = " · " if look.has_unicode else ", "
    return _cut(dot.join(["sshjobs top", *sums, shown]), look, "1")


def _build_host_lines(view: TopView, look: Look) -> list[str]:
    counts: dict[tuple[str, str], int] = {}
    for job in view.overview.jobs:
        at = (job.site_id, job.state)
        counts[at] = counts.get(at, 0) + 1
    rows = []
    for host in view.hosts[:_HOSTS]:
        row, now = host.row, view.overview.now
        asked = format_age(now - row.round_started_at) if row.round_started_at else "-"
        remark, colour = _describe_trouble(view, host)
        texts = [
            (row.host, ""),
            (name_connection(host), "31" if remark else ""),
            (str(counts.get((row.site_id, states.RUNNING), 0)), ""),
            (str(counts.get((row.site_id, states.PENDING), 0)), ""),
            (str(row.sessions), ""),
            (asked, ""),
            (remark, colour),
        ]
        rows.append([Cell(printable(text), paint) for text, paint in texts])
    lines = list(yield_table_lines(_HOST_COLUMNS, rows, look)) if rows else []
    if len(view.hosts) > _HOSTS:
        lines.append(_cut(f"and {len(view.hosts) - _HOSTS} more hosts", look, "2"))
    return [*lines, ""]


def _describe_trouble(view: TopView, host: HostState) -> tuple[str, str]:
    """Return words on why a host does not answer, and their colour."""
    error = view.failures.get(host.row.site_id)
    left = cooldown_end(host.row, view.overview.now) - view.overview.now
    pause = f"next try in {format_span(left)}: " if left > 0.0 else ""
    if error is not None:
        text = " ".join(str(error).split("\n")[0].split())
        return f"{pause}{text.removeprefix(f'{host.row.host}: ')}", "31"
    if host.refused:
        return f"not tried again: {host.refused}", "31"
    return (f"{pause}refused", "33") if pause else ("", "")


def _build_job_lines(view: TopView, look: Look, room: int) -> list[str]:
    """Return the head and the part of the table around the job that is selected."""
    if not view.jobs:
        return [_cut("no job to show", look, "2")]
    count = room - 1
    first = max(0, min(view.selected - count // 2, len(view.jobs) - count))
    some = view.jobs[first : first + count]
    cells = [build_job_cells(job, view.overview, look) for job in some]
    mark = look._replace(width=max(10, look.width - 2))
    head, *lines = yield_table_lines(COLUMNS, cells, mark)
    made = [f"  {head}"]
    for place, line in enumerate(lines, first):
        if place == view.selected:
            pieces = line.split("\033[")
            line = pieces[0] + "".join(each.partition("m")[2] for each in pieces[1:])
            blanks = " " * max(0, look.width - 2 - measure_width(line))
            made.append(look.paint(f"> {line}{blanks}", "7"))
        else:
            made.append(f"  {line}")
    return made


def _build_log_lines(view: TopView, look: Look, height: int) -> list[str]:
    """Return the end of a log below its heading, or the keys."""
    if view.has_help:
        lines = [f"{keys:<16}{text}" for keys, text in KEYS]
        return [_cut(line, look) for line in ["", *lines][:height]]
    if not view.jobs:
        return []
    job = view.jobs[view.selected]
    rule = "─" if look.has_unicode else "-"
    title = f"{rule * 2} {printable(job.name or job.key or job.id)}"
    title += f" on {printable(job.host)}  {view.log_note} "
    title += rule * max(0, look.width - measure_width(title))
    lines = [printable(line.expandtabs()) for line in view.log[-(height - 1) :]]
    return [_cut(title, look, "2"), *(_cut(line, look) for line in lines)]
