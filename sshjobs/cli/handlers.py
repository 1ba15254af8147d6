"""Carries out a call that the command line or an Invoke task has read.

:func:`carry_out_verb` is given a verb's name and a plain dict of its arguments (see
``manual.py``), calls the verb, prints, and returns the exit status. Results go
to standard output, everything for people to standard error.
"""

from __future__ import annotations

import os
import sys

from .. import errors
from ..errors import SshJobsError
from ..model import POOL
from ..startup.contexts import closing
from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import signal
from ..verbs.context import Context
from .output import (
    EVERY,
    FIRST,
    LIVE_LINE,
    RARELY,
    build_job_printer,
    format_json,
    mute_stdout,
    prepare_streams,
    print_error,
    print_failed_line,
    print_line,
    report_error_with_ids,
    report_host_errors,
    report_os_error,
    warn_of_other_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType
    from typing import Any

    from ..verbs.submit import JobRequest
    from .progress import Progress

    Values = Mapping[str, Any]


def carry_out_verb(
    verb: str,
    values: Values,
    *,
    last: bool = False,
    prepare: Callable[[Context], None] | None = None,
) -> int:
    """Carry out a verb; return the exit status.

    Every error of sshjobs becomes one message and its status; anything else is a
    bug and keeps its traceback.

    Args:
        last: The process ends right after, and takes the store with it. To close it
            would fold the WAL into the database and wait for the disk, each time.
        prepare: Called with the context before the verb begins.
    """
    prepare_streams()
    values = _recode_values(values)
    try:
        ctx = _make_context(values, prepare)
        ctx.say = print_error
        end_telling = _tell_waits(
            ctx, "leave" if values.get("detach_on_signal") else verb
        )
        try:
            return _find_handler(verb)(ctx, values)
        except (KeyboardInterrupt, errors.Interrupted) as interrupt:
            end_telling()
            return _report_interrupt(ctx, verb, values, interrupt)
        finally:
            end_telling()
            if not last:
                ctx.close()
            sys.stdout.flush()
            if ctx.remark:
                print_error(ctx.remark)
    except SshJobsError as error:
        # The standard output of a run is the job's own.
        return report_error_with_ids(error, sys.stderr if verb == "run" else sys.stdout)
    except BrokenPipeError:
        mute_stdout()
        return 141
    except OSError as error:  # most others have crossed the seams
        return report_os_error(error)
    except KeyboardInterrupt:
        return 130


def _tell_waits(ctx: Context, verb: str) -> Callable[[], None]:
    """Have a verb tell of its waits, from :data:`FIRST` on; return how to end it.

    Nothing is told where the timer or its signal serve something else (a program that
    calls us as an Invoke task), or in a thread.
    """
    told: list[Progress] = []
    every = EVERY

    def tick(_signum: int, frame: FrameType | None) -> None:
        nonlocal every
        if not os.isatty(2):
            # A line a change, and no clock that runs: a thousand that wait for long are
            # not to wake twice a second each.
            every = min(2.0 * every, RARELY)
            signal.setitimer(signal.ITIMER_REAL, every, every)
        if _is_importing(frame):
            return
        try:
            if not told:
                from .progress import Progress

                told.append(Progress(ctx, verb))
            told[0].tick()
        except OSError:  # nobody reads it
            return

    def end() -> None:
        _ticks.clear()  # first: a tick sets the timer
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        LIVE_LINE.draw("")

    return end if _start_timer(tick) else lambda: None


def _is_importing(frame: FrameType | None) -> bool:
    """Tell whether a signal came in the middle of an import of a verb.

    Another import in a handler would break that one: it takes away the mark by which
    the lock of the module is waited for (KeyError in importlib, CPython 3.11), or
    gets half a module. The next tick is half a second away.
    """
    while frame is not None and frame.f_code is not carry_out_verb.__code__:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _start_timer(tick: Callable[[int, FrameType | None], None]) -> bool:
    """Have a function called now and then, if the timer is free; tell whether it is."""
    is_taken = signal.getitimer(signal.ITIMER_REAL)[0] > 0.0
    if is_taken or signal.getsignal(signal.SIGALRM) not in (
        signal.SIG_DFL,
        _handle_alarm,
    ):
        return False
    try:
        signal.signal(signal.SIGALRM, _handle_alarm)
    except ValueError:  # signals are for the main thread
        return False
    _ticks[:] = [tick]
    signal.setitimer(signal.ITIMER_REAL, FIRST, EVERY)
    return True


def _handle_alarm(signum: int, frame: FrameType | None) -> None:
    """Handle SIGALRM, also one that comes late: its default would end the process."""
    for tick in _ticks:
        tick(signum, frame)


#: The function that the timer calls, if a verb is at work.
_ticks: list[Callable[[int, FrameType | None], None]] = []


def _report_interrupt(
    ctx: Context, verb: str, values: Values, interrupt: BaseException
) -> int:
    """Tell of the rest of an interrupted call, unless its handler has."""
    if not ctx.is_left_told:
        from .interrupts import explain_interrupt

        print_error(explain_interrupt(ctx, verb, values))
    return 128 + int(getattr(interrupt, "signum", signal.SIGINT))


def _make_context(values: Values, prepare: Callable[[Context], None] | None) -> Context:
    names = ("wait_host", "cleanup", "max_log_bytes", "askpass_env")
    flags = {name: values[name] for name in names if values.get(name) is not None}
    if any(values.get(letter) not in (None, []) for letter in "pliJFo"):
        from .ssh_flags import build_ssh_settings

        flags |= build_ssh_settings(values)
    ctx = Context(flags=flags)
    if values.get("verbose") or ctx.environ.get("SSHJOBS_DEBUG", "0") not in ("", "0"):
        from .debug import tell_steps

        tell_steps(ctx.home, ctx.environ)
    if prepare is not None:
        prepare(ctx)
    return ctx


#: What is text on the host, or a name that others ask by.
_TEXTS = ("host", "job", "key", "name", "cwd", "shell", "l", "J")


def _recode_values(values: Values) -> Values:
    """Return the values with the texts of a command line as UTF-8 has them.

    Python reads arguments by the locale. But a directory on a host is bytes, and a key
    must be the same from a login and from cron: so these are read as UTF-8 in every
    locale. Under an older locale, bytes that are no UTF-8 are read as it says.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return values
    return dict(values) | {
        name: _recode_value(name, values.get(name)) for name in _TEXTS
    }


def _recode_value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_recode_value(name, word) for word in value]
    if not isinstance(value, str):
        return value
    data = os.fsencode(value)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape") if name == "cwd" else value


def handle_submit(ctx: Context, values: Values) -> int:
    if values.get("hosts") or "," in values["host"]:
        from .many_hosts import submit_to_many_hosts

        return submit_to_many_hosts(ctx, values)
    try:
        return _submit_each_request(ctx, values)
    except errors.NotYet as error:
        # The output so far stays in step with the lines of the input.
        for job_id in error.job_ids:
            job = ctx.store.jobs.find_job(job_id)
            if job is None:
                print_failed_line(values, len(error.job_ids), error)
            else:
                print_line(format_json(job.public()) if values.get("json") else job_id)
        raise errors.NotYet(error.detail) from error


def _submit_each_request(ctx: Context, values: Values) -> int:
    if values["host"].startswith(POOL):
        from ..verbs.pools import submit_each_job_to_pool as submit_there
    else:
        from ..verbs.submit import submit_each_job as submit_there
    from .job_requests import read_job_requests

    status = count = there = refused = 0
    job_requests = read_job_requests(ctx, values)

    def counted() -> Iterator[JobRequest]:
        nonlocal count
        for job_request in job_requests:
            count += 1
            yield job_request

    with closing(submit_there(ctx, values["host"], counted())) as results:
        for number, done in enumerate(results, 1):
            if done.error is not None:
                which = f"job {number} of {count}: " if count > 1 else ""
                print_error(f"{which}{done.error}")
                status = status or done.error.exit_status
                refused += 1
                print_failed_line(values, count, done.error)
                continue
            assert done.job is not None
            there += done.was_there
            warn_of_other_command(done)
            if not values.get("quiet"):
                as_json = values.get("json")
                print_line(format_json(done.job.public()) if as_json else done.job.id)
    if values.get("from") and not values.get("quiet"):
        print_error(_describe_batch(count - there - refused, there, refused))
    return status


def _describe_batch(started: int, there: int, refused: int) -> str:
    """Return how many jobs of a batch are new, and how many are not."""
    text = f"{started} started"
    if there:
        text += f", {there} {'was' if there == 1 else 'were'} there already"
    return f"{text}, {refused} refused" if refused else text


def handle_poll(ctx: Context, values: Values) -> int:
    from ..verbs.poll import poll_jobs
    from .selections import note_if_none_is_active, read_criteria_flags

    sensor = bool(values.get("sensor"))
    criteria = read_criteria_flags(values)
    results = poll_jobs(
        ctx,
        criteria,
        adopt=bool(values.get("adopt")),
        sensor=sensor,
        show=build_job_printer(values),
    )
    if not (sensor or values.get("adopt") or values.get("quiet")):
        note_if_none_is_active(criteria, results)
    status = report_host_errors(results)
    if results.any_bad():
        return 1
    if sensor and status != errors.AuthenticationError.exit_status:
        return 75 if status or results.any_active() else 0
    return status


def handle_kill(ctx: Context, values: Values) -> int:
    from ..verbs.kill import kill_jobs
    from .selections import build_confirmation, read_criteria_flags

    forget = bool(values.get("forget"))
    results = kill_jobs(
        ctx,
        read_criteria_flags(values, must_say="kill"),
        show=build_job_printer(values),
        forget=forget,
        confirm=build_confirmation(values),
    )
    return report_host_errors(results)


def handle_reap(ctx: Context, values: Values) -> int:
    from ..verbs.reap import reap_jobs
    from .selections import read_criteria_flags

    if values.get("tmpfiles"):
        # A line for systemd-tmpfiles on the host, tmpfiles.d(5).
        base = ctx.settings("".join(values["host"][:1])).remote_base_dir
        base = "%h" + base[1:] if base.startswith("~") else base
        days = max(1, round((values.get("older_than") or 30 * 86400.0) / 86400.0))
        print(f"e {base}/jobs - - - {days}d")
        return 0
    results = reap_jobs(
        ctx,
        read_criteria_flags(values),
        older_than=values.get("older_than") or 0.0,
        orphans=bool(values.get("orphans")),
        dry_run=bool(values.get("dry_run")),
        cut_logs=bool(values.get("cut_logs")),
        show=build_job_printer(values),
    )
    status = report_host_errors(results)
    if os.isatty(2) and not (results.states or results.notes or status):
        print_error("nothing to reap: no job has ended that still stands on its host")
    return status


def carry_out_ssh(words: list[str]) -> int:
    """Carry out ``sshjobs ssh``, whose words are those of ssh; return its status."""
    from .ride_words import read_ride

    try:
        values = read_ride(words)
    except errors.SpecError as error:
        print_error(str(error))
        return error.exit_status
    return carry_out_verb("ssh", values)


def handle_ssh(ctx: Context, values: Values) -> int:
    from ..verbs.ride import ride_along

    command = values.get("command") or ()
    return ride_along(ctx, values["host"], values.get("options") or (), command)


def _find_handler(verb: str) -> Callable[[Context, Values], int]:
    """Return the function that carries out a verb."""
    if verb in ("status", "list", "show", "report"):
        from . import overview

        return getattr(overview, f"handle_{verb}")  # type: ignore[no-any-return]
    if verb == "rerun":
        from .rerun import handle_rerun

        return handle_rerun
    if verb in ("run", "wait", "logs"):
        from . import staying

        return staying.HANDLERS[verb]
    if verb in ("connect", "disconnect", "hosts", "doctor"):
        from . import host_views

        return host_views.HANDLERS[verb]
    if verb in ("put", "get"):
        from . import copies

        return copies.HANDLERS[verb]
    return _HANDLERS[verb]


_HANDLERS: dict[str, Callable[[Context, Values], int]] = {
    "submit": handle_submit,
    "poll": handle_poll,
    "kill": handle_kill,
    "reap": handle_reap,
    "ssh": handle_ssh,
}
