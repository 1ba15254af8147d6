"""Carries out the verbs that show jobs: status, list, show, report."""

from __future__ import annotations

import sys

from ..errors import SshJobsError
from ..model import name_streams
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from ..verbs.selection import Criteria, select_recorded_jobs
from .output import format_json, print_error, print_line
from .selections import read_criteria_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Values = Mapping[str, Any]

#: Lines of a terminal that a table leaves to its head, its sum, and the prompt.
_SPARE = 5

#: Of however low a terminal, so many jobs are shown.
_FEWEST = 10

#: Nobody waits longer than so many seconds for the hosts of ``status``.
_BOUND = 5.0


def handle_list(ctx: Context, values: Values) -> int:
    criteria = read_criteria_flags(values)
    is_special = values.get("json") or values.get("quiet") or values.get("color")
    is_plain = not (is_special or sys.stdout.isatty())
    if not is_plain or any(values.get(name) for name in ("limit", "sort")):
        return _print_overview(ctx, values, criteria)
    # In a pipe: every job, a line each, none held.
    from ..display.text import format_job_line, stale_age

    rows = {row.site_id: row for row in ctx.store.sites.list_sites()}
    job = None
    for job in select_recorded_jobs(ctx, criteria):
        age = stale_age(job, rows.get(job.site_id))
        print_line(format_job_line(job, age=age))
    if job is None and criteria.is_open:
        print_error("no jobs yet: to begin, sshjobs --help")
    return 0


def handle_status(ctx: Context, values: Values) -> int:
    from ..verbs.status import ask_hosts

    criteria = read_criteria_flags(values)
    given = values.get("wait_host")
    failures = ask_hosts(ctx, criteria, _BOUND if given is None else given)
    for error in failures:
        print_error(str(error))
    status = _print_overview(ctx, values, criteria, failures)
    return failures[0].exit_status if failures else status


def _print_overview(
    ctx: Context,
    values: Values,
    criteria: Criteria,
    failures: Sequence[SshJobsError] | None = None,
) -> int:
    """Print a table, or the objects of its jobs.

    Args:
        failures: Of hosts that were asked; None if none was.
    """
    from ..display.job_table import build_job_object, yield_overview_lines
    from ..display.look import find_look
    from ..verbs.overview import View, read_overview

    look = find_look(sys.stdout, values.get("color") or "auto", ctx.environ)
    fit = max(_FEWEST, look.height - _SPARE) if look.is_terminal else 0
    every = bool(values.get("all"))
    is_for_programs = values.get("json") or values.get("quiet")
    view = View(
        order=values.get("sort") or "age",
        limit=values.get("limit") or (0 if every or is_for_programs else fit),
        with_reaped=every or not look.is_terminal and failures is None,
        lately_only=failures is not None and not every,
    )
    overview = read_overview(ctx, criteria, view, failures or ())
    if values.get("quiet"):
        for job in overview.jobs:
            print_line(job.id)
    elif values.get("json"):
        for job in overview.jobs:
            print_line(format_json(build_job_object(job, overview.sites)))
    else:
        for line in yield_overview_lines(overview, look):
            print_line(line)
    return 0


def handle_show(ctx: Context, values: Values) -> int:
    criteria = read_criteria_flags(values, must_say="show")
    jobs = select_recorded_jobs(ctx, criteria, every_attempt=False)
    for number, job in enumerate(jobs):
        if values.get("json"):
            print_line(format_json(job._asdict()))
        else:
            from ..display.text import yield_record_lines

            paths = [
                ctx.store.files.locate_log(job.id, stream)
                for stream in name_streams(job)
            ]
            lines = yield_record_lines(
                job, ctx.store.sites.find_site(job.site_id), paths
            )
            print_line("\n" * bool(number) + "\n".join(lines))
    return 0


def handle_report(ctx: Context, values: Values) -> int:
    from ..display.report_page import build_page, build_picture
    from ..verbs.report import gather_report, is_bad, write_report
    from .output import write_to_stdout

    is_picture = bool(values.get("svg"))
    path = values.get("output") or ("report.svg" if is_picture else "report.html")
    ctx.goal = lambda: ("bringing the ends of logs", "logs")
    report = gather_report(ctx, read_criteria_flags(values))
    text = build_picture(report) if is_picture else build_page(report)
    if path == "-":
        write_to_stdout(text.encode("utf-8"))
        return 0
    write_report(path, text)
    bad = sum(map(is_bad, report.jobs))
    if values.get("json"):
        facts = {"file": path, "jobs": len(report.jobs), "ended_badly": bad}
        print_line(format_json(facts))
    else:
        count = f"{len(report.jobs)} job{'s' * (len(report.jobs) != 1)}"
        print_error(f"{path}: {count}, {bad} ended badly")
    return 0
