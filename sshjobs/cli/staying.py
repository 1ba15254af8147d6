"""Carries out the verbs that stay with jobs: run, wait and logs."""

from __future__ import annotations

import os
import stat
import sys

from .. import errors, states
from ..display.text import cut_to_width, format_span
from ..errors import SshJobsError
from ..model import Job
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from .output import (
    LIVE_LINE,
    build_job_printer,
    format_json,
    print_error,
    print_line,
    report_host_errors,
    report_missing_bytes,
    wait_for_stdout,
    warn_of_other_command,
    write_some_to_stdout,
    write_to_stdout,
)
from .selections import note_if_none_is_active, read_criteria_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from ..verbs.submit import Submitted
    from ..verbs.wait import WaitCount

    Values = Mapping[str, Any]


#: In a summary at a terminal a name has so many columns, that its line may fit.
_NAME_WIDTH = 24


def handle_run(ctx: Context, values: Values) -> int:
    if values.get("hosts") or "," in values["host"]:
        from .many_hosts import run_on_many_hosts

        return run_on_many_hosts(ctx, values)
    from ..verbs.run import exit_status_of, run_job
    from . import streams
    from .job_requests import read_one_job_request

    job_request = read_one_job_request(ctx, values)
    stderr = streams.write_some_to_stderr, streams.wait_for_stderr
    started: list[Job] = []

    def on_start(done: Submitted) -> None:
        assert done.job is not None
        started.append(done.job)
        warn_of_other_command(done)
        print_line(done.job.id, sys.stderr)

    def on_cancel(job: Job) -> None:
        started[:] = [job]
        cancelled.append(job)
        grace = ctx.settings(job.host).kill_grace
        print_error(
            f"job {job.id} is being cancelled: TERM, and KILL after {grace:g} s; its "
            "log goes on. Ctrl-C again leaves that to its host"
        )

    cancelled: list[Job] = []
    LIVE_LINE.is_wanted = not os.isatty(1)
    with _saying_that_it_goes_on(ctx, started, cancelled):
        job = run_job(
            ctx,
            values["host"],
            job_request,
            (write_some_to_stdout, wait_for_stdout),
            on_start,
            on_cancel,
            detach_on_signal=bool(values.get("detach_on_signal")),
            stderr=stderr if job_request.spec.split else None,
        )
    report_missing_bytes(job)
    if values.get("json"):
        print_line(format_json(job.public()), sys.stderr)
    elif job.state != states.COMPLETED:
        from ..display.text import format_job_line

        print_error(format_job_line(job))
    return exit_status_of(job)


@contextmanager
def _saying_that_it_goes_on(
    ctx: Context, started: list[Job], cancelled: list[Job]
) -> Iterator[None]:
    """Say of a job that was left how it is taken up again."""
    try:
        yield
    except (SshJobsError, errors.Interrupted) as error:
        for job in started if not isinstance(error, errors.JobError) else ():
            words = "goes on"
            if job.id in ctx.sent_ids:
                words = "was told to end, and its host sees to that"
            elif cancelled and isinstance(error, errors.Interrupted):
                words = (
                    "is NOT cancelled yet: the next command that reaches its host "
                    "does it"
                )
            follow = f"sshjobs logs {job.id} --follow"
            print_error(f"job {job.id} {words}. To follow it:\n{follow}")
        if started:
            ctx.sent_ids[:] = []
            ctx.is_left_told = True
        raise


def handle_wait(ctx: Context, values: Values) -> int:
    from ..verbs.wait import WaitCount, wait_for_jobs

    count = WaitCount()
    print_jobs = build_job_printer(values)
    ctx.goal = lambda: (_describe_wait(count), "waits")
    criteria = read_criteria_flags(values)
    results = wait_for_jobs(
        ctx,
        criteria,
        timeout=values.get("timeout"),
        show=print_jobs,
        count=count,
    )
    if not values.get("quiet"):
        note_if_none_is_active(criteria, results)
    if not (values.get("json") or values.get("quiet")):
        _print_summary(ctx, count)
    status = report_host_errors(results)
    if status:
        return status
    if results.any_active():
        return 75
    return 1 if results.any_bad() else 0


def _describe_wait(count: WaitCount) -> str:
    """Return how far a wait has come, as one line."""
    if count.total == 1:
        return f"waiting for 1 job, {count.seconds:.0f} s; Ctrl-C: it goes on"
    words = [f"{count.done}/{count.total} done"]
    words += [f"{count.bad} failed"] * bool(count.bad)
    words += [f"{count.running} running"] * bool(count.running)
    ended = count.done - count.done_before
    if ended >= 2:
        rate = ended / count.seconds
        left = (count.total - count.done) / rate
        words.append(f"{rate:.0f}/s" if rate >= 1 else f"{rate * 60:.0f}/min")
        words.append(f"about {format_span(left) if left >= 60 else f'{left:.0f} s'}")
    return " · ".join(words)


def _print_summary(ctx: Context, count: WaitCount) -> None:
    """Say how jobs have ended, and why those did that ended badly.

    One job whose line was just printed needs that at a terminal only.
    """
    if count.total == 1 and not os.isatty(2):
        return
    ctx.goal = lambda: ("bringing the ends of logs", "logs")
    from ..verbs.last_lines import find_last_lines

    if count.total > 1:
        words = [f"{count.done} of {count.total} jobs have ended"]
        words += [f"{count.bad} badly"] * bool(count.bad)
        print_error(f"{', '.join(words)}, after {format_span(count.seconds)}")
    lines = find_last_lines(ctx, count.ended_badly)
    for job in count.ended_badly:
        name = job.name or job.key
        name = cut_to_width(name, _NAME_WIDTH) if sys.stderr.isatty() else name
        label = f"{job.id} {name}".strip()
        print_error(f"{label}: {job.state}: {lines[job.id]}")
    if count.bad > len(count.ended_badly):
        print_error(f"and {count.bad - len(count.ended_badly)} more that ended badly")


def handle_logs(ctx: Context, values: Values) -> int:
    from ..verbs.selection import select_jobs

    found = select_jobs(ctx, read_criteria_flags(values, must_say="logs")).every
    ids = [job_id for jobs in found.values() for job_id in jobs]
    if len(ids) > 1 or values.get("prefix"):
        from .many_logs import print_logs

        return print_logs(ctx, values, found)
    job = ctx.store.jobs.find_job(ids[0]) if ids else None
    if ids and job is None:
        raise errors.JobNotFound(ids[0], "is no longer in this machine's record")
    return _copy_one_log(ctx, values, job) if job is not None else 0


def _copy_one_log(ctx: Context, values: Values, job: Job) -> int:
    from ..verbs.logs import copy_log
    from ..verbs.tend import tend_held
    from .streams import choose_stream, find_second

    with tend_held(ctx, [job.id] if values.get("follow") else []):
        job = copy_log(
            ctx,
            job,
            write_to_stdout,
            follow=bool(values.get("follow")),
            offset=values.get("offset") or 0,
            tail=values.get("tail"),
            whole=bool(values.get("whole")),
            file=1 if stat.S_ISREG(os.fstat(1).st_mode) else -1,
            stream=choose_stream(job, values),
            second=find_second(job, values),
        )
    if values.get("json"):
        print_line(format_json(job.public()), sys.stderr)
    return report_missing_bytes(job)


HANDLERS: dict[str, Callable[[Context, Values], int]] = {
    "run": handle_run,
    "wait": handle_wait,
    "logs": handle_logs,
}
