"""A job as a line of text or as a whole record; spans, instants and sizes as words."""

from __future__ import annotations

import time

from .. import states
from ..model import Job, printable
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_COLOURS = {
    states.PENDING: "33",
    states.RUNNING: "36",
    states.COMPLETED: "32",
    states.FAILED: "31",
    states.CANCELLED: "35",
    states.TIMEOUT: "31",
    states.LOST: "31",
}


def format_job_line(job: Job, colour: bool = False, now: float | None = None) -> str:
    """Return one line on a job: id, state, host, time, end, name, reason."""
    first = job.command.strip().partition("\n")[0]
    first = first if len(first) <= 40 else first[:37] + "..."
    state = f"{job.state:<9}"
    if colour:
        state = f"\033[{_COLOURS[job.state]}m{state}\033[0m"
    words = [
        job.id,
        state,
        f"{printable(job.host):<12}",
        f"{_format_elapsed(job, now):>8}",
    ]
    words += [
        f"{_format_end(job):<7}",
        printable(job.name or job.key or first),
    ]
    if job.reason:
        words.append(f"[{printable(job.reason)}]")
    return "  ".join(words).rstrip()


def _format_elapsed(job: Job, now: float | None) -> str:
    if job.started_at is None:
        return "-"
    if job.finished_at is None and states.is_final(job.state):
        return "-"
    end = job.finished_at or (time.time() if now is None else now)
    return format_span(max(0.0, end - job.started_at))


def _format_end(job: Job) -> str:
    if job.signal is not None:
        return f"sig {job.signal}"
    return "" if job.exit_status is None else f"exit {job.exit_status}"


def yield_record_lines(job: Job) -> Iterator[str]:
    """Yield the whole record of a job, a line a fact."""
    for name, value in job._asdict().items():
        if name.endswith("_at"):
            value = format_instant(value)
        elif value is None or value == "":
            value = "-"
        yield f"{name:<13} {printable(str(value))}"


def format_span(seconds: float) -> str:
    """Return a span of time: ``4.2s``, ``3m05s``, ``2h10m``, ``3d04h``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m{int(seconds % 60):02d}s"
    if seconds < 86400:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}m"
    return f"{int(seconds // 86400)}d{int(seconds % 86400 // 3600):02d}h"


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
