"""Runs the commands that are to hear of ends, in a process of its own.

``rounds/notify.py`` starts it; its standard output and error are ``notify.log`` of the
record. The job stands on a command's standard input, as ``list --json`` shows it, and
nowhere else: what a host or a job says is part of no command line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence

from ..display.job_table import build_job_object
from ..errors import SshJobsError
from ..model import Job
from ..verbs.context import Context
from .output import format_json

#: Seconds that a command may take; after so many that took longer in a row, the rest
#: is not run.
_BOUND = 60.0
_MOST_LATE = 3

#: Seconds after which a command of a job that is not active is deleted unheard: more
#: than a notifier may take for all of its jobs.
_OLD = 86400.0


def main(ids: Sequence[str]) -> None:
    """Run the command of each job, one after another."""
    ctx = Context()
    sites = {row.site_id: row for row in ctx.store.hosts()}
    late = 0
    for job_id in ids:
        job = ctx.store.job(job_id)
        try:
            command = ctx.store.take_notify(job_id)
            if job is None:
                continue
            command = command or ctx.settings(job.host).notify
        except (OSError, SshJobsError) as error:
            note(job_id, str(error))
            continue
        if command and late >= _MOST_LATE:
            note(job_id, f"not told: the last {late} commands took too long")
        elif command:
            text = format_json(build_job_object(job, sites)) + "\n"
            late = late + 1 if not run_command(command, job, text) else 0
    ctx.store.drop_old_notify(time.time() - _OLD)


def run_command(command: str, job: Job, text: str) -> bool:
    """Run one command to its end; tell whether it came within the bound."""
    home = os.path.expanduser("~")
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        cwd=home if os.path.isdir(home) else "/",
        start_new_session=True,
    )
    try:
        process.communicate(text.encode(), timeout=_BOUND)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        note(job.id, f"the command took longer than {_BOUND:g} s and was killed")
        return False
    if process.returncode:
        note(job.id, f"the command ended with {process.returncode}")
    return True


def note(job_id: str, text: str) -> None:
    """Write a line into the log of commands."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{now} job {job_id}: notify: {text}", flush=True)
