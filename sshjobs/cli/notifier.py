"""Runs the commands that are to hear of ends, in a process of its own.

``rounds/notify.py`` starts it; its standard output and error are ``notify.log`` of the
record. The job stands on a command's standard input, as ``list --json`` shows it, and
nowhere else: what a host or a job says is part of no command line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from ..display.job_table import build_job_object
from ..errors import SshJobsError
from ..model import Job
from ..startup.contexts import suppress
from ..verbs.context import Context
from .output import format_json

#: Seconds that a command may take; after so many that took longer in a row, the rest
#: is not run.
_BOUND = 60.0
_MOST_LATE = 3

#: Bytes of a command's words that are kept; the log begins anew when it has so many.
_MOST_WORDS = 1 << 16
_MOST_LOG_BYTES = 1 << 20

#: Seconds for the last words of a command that has ended.
_FAREWELL = 1.0

#: Seconds after which a command of a job that is not active is deleted unheard: more
#: than a notifier may take for all of its jobs.
_OLD = 86400.0


def main(ids: Sequence[str]) -> None:
    """Run the command of each job, one after another."""
    left = list(ids)
    try:
        ctx = Context()
        sites = {row.site_id: row for row in ctx.store.sites.list_sites()}
        late = 0
        while left:
            job_id = left.pop(0)
            job, command = find_command(ctx, job_id)
            if not command or job is None:
                continue
            if late >= _MOST_LATE:
                note(job_id, f"not told: the last {late} commands took too long")
                continue
            text = format_json(build_job_object(job, sites)) + "\n"
            late = late + 1 if not run_command(command, job, text) else 0
        ctx.store.files.drop_old_notify(time.time() - _OLD)
    except (OSError, SshJobsError) as error:
        for job_id in left:
            note(job_id, f"not told: {error}")


def find_command(ctx: Context, job_id: str) -> tuple[Job | None, str]:
    """Return a job and the command that is to hear of its end, "" if there is none."""
    try:
        job = ctx.store.jobs.find_job(job_id)
        command = ctx.store.files.take_notify(job_id)
        if job is not None and not command:
            command = ctx.settings(job.host).notify
        return job, command
    except (OSError, SshJobsError) as error:
        note(job_id, f"not told: {error}")
        return None, ""


def run_command(command: str, job: Job, text: str) -> bool:
    """Run one command to its end; tell whether it came within the bound."""
    home = os.path.expanduser("~")
    if os.fstat(1).st_size > _MOST_LOG_BYTES:
        os.ftruncate(1, 0)
    output, end = os.pipe()
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=end,
            stderr=end,
            cwd=home if os.path.isdir(home) else "/",
            start_new_session=True,
        )
    except OSError as error:
        os.close(output)
        note(job.id, f"the command was not run: {error.strerror}")
        return True
    finally:
        os.close(end)
    words = threading.Thread(target=keep_first_words, args=[output], daemon=True)
    words.start()
    is_in_time = True
    try:
        process.communicate(text.encode(), timeout=_BOUND)
    except subprocess.TimeoutExpired:
        is_in_time = False
        with suppress(PermissionError):  # another user's by now, as by sudo: left alone
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    words.join(_FAREWELL)  # what it left in the background may hold the pipe for ever
    if not is_in_time:
        note(job.id, f"the command took longer than {_BOUND:g} s and was killed")
    elif process.returncode:
        note(job.id, f"the command ended with {process.returncode}")
    return is_in_time


def keep_first_words(output: int) -> None:
    """Copy the beginning of what a command prints, and let it print on."""
    room = _MOST_WORDS
    while data := os.read(output, _MOST_WORDS):
        with suppress(OSError):  # a full disk ends no command
            os.write(1, data[:room])
        room = max(0, room - len(data))
    os.close(output)


def note(job_id: str, text: str) -> None:
    """Write a line into the log of commands, if this machine has room for it."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    line = f"{now} job {job_id}: notify: {text}\n"
    with suppress(OSError):
        os.write(1, line.encode(errors="backslashreplace"))
