"""Carries out ``sshjobs rerun``."""

from __future__ import annotations

import sys

from ..errors import SshJobsError
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from .job_requests import read_environment
from .output import (
    format_json,
    print_error,
    print_jobs,
    print_line,
    report_error_with_ids,
    warn_of_other_command,
)
from .selections import read_criteria_flags

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..model import Job

    Values = Mapping[str, Any]


def handle_rerun(ctx: Context, values: Values) -> int:
    from ..verbs.rerun import choose_jobs_to_rerun

    criteria = read_criteria_flags(values, must_say="rerun")
    ctx.goal = lambda: ("looking for attempts of the jobs that are meant", "looks")
    jobs = choose_jobs_to_rerun(ctx, criteria, bool(values.get("all")))
    if values.get("dry_run"):
        print_jobs(values, jobs)
        return 0
    ctx.goal = None
    return _run_again(ctx, values, jobs)


def _run_again(ctx: Context, values: Values, jobs: list[Job]) -> int:
    """Run jobs again, and print the new ids; return the exit status."""
    from ..verbs.rerun import rerun_jobs

    status = started = there = 0
    for again in rerun_jobs(ctx, jobs, dict(read_environment(ctx, values))):
        if isinstance(again, SshJobsError):  # of a host; the others are asked
            failed = report_error_with_ids(again, sys.stdout)
            status = status or failed
            continue
        done = again.done
        if done.error is not None:
            print_error(f"{again.job.id}: {done.error}")
            status = status or done.error.exit_status
            continue
        assert done.job is not None
        there += done.was_there
        started += not done.was_there
        warn_of_other_command(done)
        if not values.get("quiet"):
            as_json = values.get("json")
            print_line(format_json(done.job.public()) if as_json else done.job.id)
    if not values.get("quiet"):
        text = "nothing to run again: none that is meant has ended badly"
        if jobs:
            text = f"{started} {'runs' if started == 1 else 'run'} again"
            text += f", {there} did already" if there else ""
        print_error(text)
    return status
