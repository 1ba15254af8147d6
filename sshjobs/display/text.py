"""A job as a line of text or as a whole record; spans, instants and sizes as words."""

from __future__ import annotations

import time

from .. import states
from ..model import STDERR, Job, printable
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..store import SiteRow

#: A state that is older than so many seconds says so. A watch hears of ends at once.
FRESH = 10.0

COLOURS = {
    states.PENDING: "33",
    states.RUNNING: "36",
    states.COMPLETED: "32",
    states.FAILED: "31",
    states.CANCELLED: "35",
    states.TIMEOUT: "31",
    states.LOST: "31",
}


def format_job_line(
    job: Job,
    colour: bool = False,
    now: float | None = None,
    age: float | None = None,
    columns: int = 0,
) -> str:
    """Return one line on a job: id, state, host, time, end, name, reason.

    Args:
        columns: The line is cut to so many columns of a terminal; 0: it is whole.
        age: How old its state is, see :func:`stale_age`; the clock stands still then.
    """
    first = job.command.strip().partition("\n")[0]
    first = first if len(first) <= 40 else first[:37] + "..."
    words = [
        job.id,
        f"{job.state:<9}",
        f"{printable(job.host):<12}",
        f"{format_elapsed(job, now, age or 0.0):>8}",
    ]
    words += [
        f"{format_end(job):<7}",
        printable(job.name or job.key or first),
    ]
    if job.reason:
        words.append(f"[{printable(job.reason)}]")
    if age is not None:
        words.append(f"[{describe_age(age)}]")
    line = "  ".join(words).rstrip()
    line = cut_to_width(line, columns) if columns else line
    if not colour:
        return line
    # An id has no capital letters.
    return line.replace(job.state, f"\033[{COLOURS[job.state]}m{job.state}\033[0m", 1)


def format_elapsed(job: Job, now: float | None, age: float = 0.0) -> str:
    """Return how long a job ran, or had run when it was last seen, or ``-``."""
    if job.started_at is None:
        return "-"
    if job.finished_at is None and states.is_final(job.state):
        return "-"
    end = job.finished_at or (time.time() if now is None else now) - age
    return format_span(max(0.0, end - job.started_at))


def format_end(job: Job) -> str:
    """Return a job's exit status or signal, or an empty text."""
    if job.signal is not None:
        return f"sig {job.signal}"
    return "" if job.exit_status is None else f"exit {job.exit_status}"


def find_seen_at(job: Job, row: SiteRow | None) -> float:
    """Return when the host of a job was last asked about it, 0 if it never was."""
    seen = row.round_started_at if row else 0.0
    return seen if seen >= job.submitted_at else 0.0


def stale_age(job: Job, row: SiteRow | None, now: float | None = None) -> float | None:
    """Return how old the state of an active job is, None if it is fresh or final.

    It is infinite if the host has not been asked since the job was written down.
    """
    now = time.time() if now is None else now
    if states.is_final(job.state):
        return None
    seen = find_seen_at(job, row)
    age = now - seen if seen else float("inf")
    is_new = now - job.submitted_at < FRESH
    is_watched = row is not None and bool(seen) and row.is_watched(now)
    return None if is_new or is_watched or age < FRESH else age


def describe_age(age: float) -> str:
    """Return a remark on a state that is not fresh."""
    return "not asked yet" if age == float("inf") else f"seen {format_age(age)} ago"


def format_when(at: float, now: float) -> str:
    """Return a time of day, of another day with its date."""
    day = "%Y-%m-%d"
    is_today = time.strftime(day, time.localtime(at)) == time.strftime(
        day, time.localtime(now)
    )
    return time.strftime("%H:%M" if is_today else f"{day} %H:%M", time.localtime(at))


def format_iso(at: float | None) -> str | None:
    """Return an instant as ISO 8601 has it, with the offset of local time."""
    if at is None:
        return None
    from datetime import datetime

    try:
        return (
            datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")
        )
    except (OverflowError, ValueError, OSError):  # no clock has ever shown that
        return None


def yield_record_lines(
    job: Job, row: SiteRow | None, log_paths: Sequence[str]
) -> Iterator[str]:
    """Yield the facts about a job in words for people, a line each.

    Args:
        log_paths: Where its log, or its two logs are on this machine.
    """
    age = stale_age(job, row)
    state = job.state if age is None else f"{job.state}, {describe_age(age)}"
    base = row.base if row and row.base else "~/.sshjobs"
    folder = f"{base}/jobs/{job.id}" if job.reaped_at is None else ""
    ended = f"{format_instant(job.finished_at)}  after {format_elapsed(job, None)}"
    facts = (
        ("job", job.id),
        ("name", job.name),
        ("key", f"{job.key}  attempt {job.attempt}" if job.key else ""),
        ("state", "  ".join(filter(None, (state, format_end(job), job.reason)))),
        ("host", job.host + (f"  node {job.node}" if job.node else "")),
        ("pool", job.pool),
        ("command", job.command),
        ("directory", job.cwd or "the login directory"),
        ("shell", job.shell),
        ("variables", job.env_names),
        ("time limit", format_span(job.timeout) if job.timeout else ""),
        ("submitted", format_instant(job.submitted_at)),
        ("started", format_instant(job.started_at) if job.started_at else ""),
        ("ended", ended if job.finished_at else ""),
        ("running for", "" if job.finished_at else format_elapsed(job, None, age or 0)),
        ("log here", _describe_log(job, *log_paths[:1])),
        ("stderr here", _describe_log(job, *log_paths[1:], stream=STDERR)),
        ("on the host", folder or f"reaped {format_instant(job.reaped_at)}"),
        ("clean-up", job.cleanup if job.cleanup != "never" else ""),
    )
    for name, value in facts:
        if value not in ("", "-"):
            yield f"{name:<11}  {printable(value)}"


def _describe_log(job: Job, path: str = "", *, stream: str = "") -> str:
    """Return where a log is on this machine and how much of it; "" if there is none."""
    from ..rounds.log_state import view_log

    log = view_log(job, stream)
    here = format_size(log.log_local_bytes)
    if log.log_local_bytes < log.log_bytes:
        here += f" of {format_size(log.log_bytes)}"
    elif not log.log_final:
        here += " so far"
    return f"{path}  {here}" if path else ""


def format_span(seconds: float) -> str:
    """Return a span of time: ``4.2s``, ``3m05s``, ``2h10m``, ``3d04h``, ``for ever``.

    A record that was damaged may hold any number, an endless one too.
    """
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m{int(seconds % 60):02d}s"
    if seconds < 86400:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}m"
    if not seconds < 1e12:
        return "for ever"
    return f"{int(seconds // 86400)}d{int(seconds % 86400 // 3600):02d}h"


def format_age(seconds: float) -> str:
    """Return a span of time in its largest unit: ``4s``, ``3m``, ``2h``, ``3d``."""
    for unit, most in (("s", 60.0), ("m", 60.0), ("h", 48.0)):
        if seconds < most:
            return f"{max(0, int(seconds))}{unit}"
        seconds /= 60.0 if unit != "h" else 24.0
    return f"{int(seconds)}d"


def format_instant(at: float | None) -> str:
    """Return an instant in local time, or ``-``."""
    if at is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):  # no clock has ever shown that
        return f"{at:g}"


def format_size(count: int) -> str:
    """Return a number of bytes in decimal units."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def measure_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_measure_char, text))


def cut_to_width(text: str, columns: int, mark: str = "…") -> str:
    """Return a text cut to so many columns of a terminal, marked where it was cut."""
    if text.isascii() and len(text) <= columns:
        return text
    width = end = 0
    for place, char in enumerate(text):
        width += _measure_char(char)
        if width < columns:
            end = place + 1
        if width > columns:
            return text[:end] + mark
    return text


def _measure_char(char: str) -> int:
    """Return 2 for a wide character (CJK, emoji), 0 for one that combines, else 1."""
    import unicodedata

    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
