"""All that a verb prints: results on standard output, the rest on standard error."""

from __future__ import annotations

import _thread
import os
import sys

from .. import errors
from ..errors import SshJobsError
from ..model import Job, name_streams, printable
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TextIO

    from ..verbs.fanout import HostResults
    from ..verbs.submit import Submitted

    Values = Mapping[str, Any]


#: Seconds of waiting before a word is said of it, and between two looks; these become
#: rare where standard error is no terminal.
FIRST = 1.4
EVERY = 0.5
RARELY = 4.0


class LiveLine:
    """The last line of a terminal, written anew while a verb waits.

    Whatever else is printed goes through :meth:`__enter__`, which takes the line away
    first. A signal's handler draws, so that it must not wait for a lock: if somebody
    prints at that instant it leaves the line to the next tick.
    """

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._is_drawn = False
        self.is_wanted = True  # not while a log's bytes go to the same terminal
        self.is_mid_line = False  # the last byte of such a log ended no line

    def is_possible(self) -> bool:
        """Tell whether standard error is a terminal that can move its cursor."""
        dumb = os.environ.get("TERM", "dumb") == "dumb"
        return self.is_wanted and not dumb and os.isatty(2)

    def draw(self, text: str) -> None:
        """Show a text in place of the one before, cut to the terminal's width."""
        if not self._lock.acquire(False):
            return
        try:
            if text or self._is_drawn:
                from ..display.text import cut_to_width

                line = cut_to_width(text, get_columns() - 1)
                os.write(2, f"\r{line}\x1b[K".encode(errors="replace"))
                self._is_drawn = bool(text)
        finally:
            self._lock.release()

    def write_whole(self, line: str) -> None:
        """Write a line of its own, unless somebody prints at this instant."""
        if self._lock.acquire(False):
            try:
                start = "\n" * self.is_mid_line
                os.write(2, f"{start}{line}".encode(errors="backslashreplace"))
                self.is_mid_line = False
            finally:
                self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._is_drawn:
            self._is_drawn = False
            os.write(2, b"\r\x1b[K")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


LIVE_LINE = LiveLine()


def get_columns() -> int:
    """Return how wide the terminal on standard error is."""
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


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
    out = sys.stdout if file is None else file
    with LIVE_LINE:
        out.write(f"{text}\n")  # print() writes an end after it, be it an empty one
        if out is sys.stderr:
            out.flush()


def format_json(value: Mapping[str, Any]) -> str:
    """Return a value as one line of JSON."""
    import json

    return json.dumps(value)


def build_job_printer(values: Values) -> Callable[[list[Job]], None]:
    """Return a function that prints jobs while other hosts are still asked."""

    def show(jobs: list[Job]) -> None:
        if not values.get("quiet"):
            print_jobs(values, jobs)
        sys.stdout.flush()

    return show


def print_jobs(values: Values, jobs: Iterable[Job]) -> None:
    """Print a line for each job, or its public record as JSON."""
    if values.get("json"):
        for job in jobs:
            print_line(format_json(job.public()))
        return
    from ..display.look import find_look
    from ..display.text import format_job_line

    look = find_look(sys.stdout, values.get("color") or "auto", os.environ)
    lines = [
        format_job_line(job, colour=look.has_colour, columns=look.width) for job in jobs
    ]
    if lines:  # in one write: two system calls a line are seen among two thousand
        print_line("\n".join(lines))


def write_to_stdout(data: bytes | memoryview, file: int = 1) -> None:
    """Write all of these bytes to standard output, now; or to standard error (2)."""
    view = memoryview(data)
    with LIVE_LINE:
        LIVE_LINE.is_mid_line = bool(view) and view[-1] != 10 and os.isatty(file)
        while view:
            view = view[os.write(file, view) :]


def wait_for_stdout(file: int = 1) -> None:
    """Wait until standard output, or error, takes some bytes, or is closed."""
    import select

    poll = select.poll()
    poll.register(file, select.POLLOUT)
    poll.poll()


def write_some_to_stdout(view: memoryview, file: int = 1) -> int:
    """Write no more than standard output takes at once: PIPE_BUF, pipe(7)."""
    piece = view[:4096]
    write_to_stdout(piece, file)
    return len(piece)


def report_host_errors(results: HostResults) -> int:
    """Print the errors; return the status of the first."""
    for note in results.notes:
        print_error(note)
    for error in results.errors:
        print_error(str(error))
    return results.errors[0].exit_status if results.errors else 0


def report_missing_bytes(job: Job) -> int:
    """Say if bytes of a log are not here; return 1 if they are gone for good."""
    from ..rounds.log_state import count_bytes, is_log_cut, is_log_full, view_log

    home, there = count_bytes(job)
    if is_log_cut(job):
        logs = {stream or "log": view_log(job, stream) for stream in name_streams(job)}
        cut = {name: log for name, log in logs.items() if is_log_full(log)}
        bound = max(log.log_local_bytes for log in cut.values())
        files = " and ".join(f"jobs/{job.id}/{name}" for name in cut)
        print_error(
            f"job {job.id}: its log was cut at {bound} bytes, by the "
            f"setting max_log_bytes.\nThe rest stands on {job.host}, in "
            f"{files} below its base directory. To bring it home:\n"
            f"sshjobs logs {job.id} --whole"
        )
        return 0
    if home >= there or not (job.log_final or job.reaped_at):
        return 0
    print_error(
        f"job {job.id}: {home} of the {there} bytes of its log "
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
