"""All that a verb prints: results on standard output, the rest on standard error."""

from __future__ import annotations

import os
import sys

from .. import errors
from ..errors import SshJobsError
from ..model import Job, printable
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TextIO

    from ..verbs.fanout import HostResults
    from ..verbs.submit import Submitted

    Values = Mapping[str, Any]


def prepare_streams() -> None:
    """Open the standard streams that are closed; escape names that they cannot show."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))
        elif number and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def report_os_error(error: OSError) -> int:
    """Say that standard output takes no more, or which file this machine refused.

    Standard output has no file name: an error that carries one is about that file.
    """
    import errno

    if error.errno in (errno.EMFILE, errno.ENFILE):
        print_error(f"{error.strerror} by this process: ulimit -n")
    elif error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EPERM) or error.filename:
        print_error(str(errors.of_system(str(error.filename or "this machine"), error)))
    else:
        mute_stdout()
        print_error(f"standard output: {error.strerror}")
    return errors.SshJobsError.exit_status


def mute_stdout() -> None:
    """Keep the interpreter from writing to a closed pipe when it ends."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)


def report_error_with_ids(error: SshJobsError, ids: TextIO) -> int:
    """Print an error, and the ids of jobs that it leaves to later commands."""
    print_error(str(error))
    if isinstance(error, errors.NotYet):
        for job_id in error.job_ids:
            print_line(job_id, ids)
    return error.exit_status


def print_error(text: str) -> None:
    """Print lines for people on standard error, free of control characters."""
    lines = [printable(line) for line in text.splitlines() or [""]]
    print_line("sshjobs: " + "\n  ".join(lines), sys.stderr)


def print_line(text: str, file: TextIO | None = None) -> None:
    """Print a line in one write, also with PYTHONUNBUFFERED: others write there too."""
    print(f"{text}\n", end="", file=file, flush=file is sys.stderr)


def format_json(value: Mapping[str, Any]) -> str:
    """Return a value as one line of JSON."""
    import json

    return json.dumps(value)


def build_job_printer(values: Values) -> Callable[[list[Job]], None]:
    """Return a function that prints jobs while other hosts are still asked."""

    def show(jobs: list[Job]) -> None:
        for job in jobs:
            print_job(values, job)
        sys.stdout.flush()

    return show


def print_job(values: Values, job: Job) -> None:
    """Print a job's line, or its public record as JSON."""
    if values.get("json"):
        print_line(format_json(job.public()))
    else:
        from ..display.text import format_job_line

        print_line(format_job_line(job, colour=sys.stdout.isatty()))


def write_to_stdout(data: bytes | memoryview) -> None:
    """Write all of these bytes to standard output, now."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def report_host_errors(results: HostResults) -> int:
    """Print the errors; return the status of the first."""
    for note in results.notes:
        print_error(note)
    for error in results.errors:
        print_error(str(error))
    return results.errors[0].exit_status if results.errors else 0


def report_missing_bytes(job: Job) -> int:
    """Say if bytes of a log are not here; return 1 if they are gone for good."""
    from ..rounds.log_state import is_log_cut

    if is_log_cut(job):
        print_error(
            f"job {job.id}: its log was cut at {job.log_local_bytes} bytes, by the "
            f"setting max_log_bytes.\nThe rest stands on {job.host}, in "
            f"jobs/{job.id}/log below its base directory. To bring it home:\n"
            f"sshjobs logs {job.id} --whole"
        )
        return 0
    if job.log_local_bytes >= job.log_bytes or not (job.log_final or job.reaped_at):
        return 0
    print_error(
        f"job {job.id}: {job.log_local_bytes} of the {job.log_bytes} bytes of its log "
        "are here; the rest went with its directory on the host"
    )
    return 1


def print_failed_line(values: Values, job_requests: int, error: SshJobsError) -> None:
    """Keep the lines of a batch's output in step with those of its input."""
    if job_requests > 1:
        print_line(
            format_json({"id": None, "error": str(error)})
            if values.get("json")
            else "-"
        )


def warn_of_other_command(done: Submitted) -> None:
    """Warn if the job that holds the key was submitted with another command."""
    if done.differs and done.job is not None:
        print_error(
            f"key {done.job.key}: job {done.job.id} holds it, with another command"
        )
