"""All that is shown to people: a line a job, a line a host, the record.

Everything here returns text without control characters; nothing prints.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from .. import states
from ..model import Job, printable
from ..rounds import cause_of, cooldown_end
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from ..verbs.hosts import HostState

_COLOURS = {
    states.PENDING: "33",
    states.RUNNING: "36",
    states.COMPLETED: "32",
    states.FAILED: "31",
    states.CANCELLED: "35",
    states.TIMEOUT: "31",
    states.LOST: "31",
}


def job_line(job: Job, colour: bool = False, now: float | None = None) -> str:
    """Return one line on a job: id, state, host, time, end, name, reason."""
    state = f"{job.state:<9}"
    if colour:
        state = f"\033[{_COLOURS[job.state]}m{state}\033[0m"
    words = [job.id, state, f"{printable(job.host):<12}", f"{_elapsed(job, now):>8}"]
    words += [f"{_end(job):<7}", printable(job.name or job.key or _brief(job.command))]
    if job.reason:
        words.append(f"[{printable(job.reason)}]")
    return "  ".join(words).rstrip()


def _brief(command: str) -> str:
    first = command.strip().partition("\n")[0]
    return first if len(first) <= 40 else first[:37] + "..."


def _elapsed(job: Job, now: float | None) -> str:
    if job.started_at is None:
        return "-"
    if job.finished_at is None and states.is_final(job.state):
        return "-"
    end = job.finished_at or (time.time() if now is None else now)
    return span(max(0.0, end - job.started_at))


def _end(job: Job) -> str:
    if job.signal is not None:
        return f"sig {job.signal}"
    return "" if job.exit_status is None else f"exit {job.exit_status}"


def span(seconds: float) -> str:
    """Return a span of time: ``4.2s``, ``3m05s``, ``2h10m``, ``3d04h``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m{int(seconds % 60):02d}s"
    if seconds < 86400:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}m"
    return f"{int(seconds // 86400)}d{int(seconds % 86400 // 3600):02d}h"


def instant(at: float | None) -> str:
    """Return an instant in local time, or ``-``."""
    if at is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):  # no clock has ever shown that
        return f"{at:g}"


def record(job: Job) -> Iterator[str]:
    """Yield the whole record of a job, a line a fact."""
    for name, value in job._asdict().items():
        if name.endswith("_at"):
            value = instant(value)
        elif value is None or value == "":
            value = "-"
        yield f"{name:<13} {printable(str(value))}"


def host_lines(hosts: Iterable[HostState], now: float) -> Iterator[str]:
    """Yield the ledger, a head line and a line a host."""
    yield (
        f"{'HOST':<20} {'CONNECTION':<12} {'HANDSHAKES':>10} {'DROPS':>6} "
        f"{'SESSIONS':>8} {'ROUNDS':>7} {'REFUSALS':>8} {'IN':>8} {'OUT':>8}  SINCE"
    )
    for host in hosts:
        row = host.row
        yield (
            f"{printable(row.host):<20} {connection(host):<12} {row.handshakes:>10} "
            f"{row.drops:>6} {row.sessions:>8} {row.rounds:>7} {row.refusals:>8} "
            f"{size(row.bytes_in):>8} {size(row.bytes_out):>8}  {instant(row.since)}"
        )
        end = cooldown_end(row, now)
        if end > now:
            yield f"    cooldown for {span(end - now)}: {printable(str(cause_of(row)))}"
        elif host.refused:
            yield f"    not tried again: {printable(host.refused)}"


def connection(host: HostState) -> str:
    """Return the state of a host's connection in a word."""
    if host.row.host == "local":
        return "local"
    state = host.connection
    if state is None:
        return "unknown"
    if state.pid is not None:
        return f"{'open' if state.alive else 'stuck'} ({state.pid})"
    return "open" if state.alive else "none"


def size(count: int) -> str:
    """Return a number of bytes in decimal units."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


#: What of a host's row is of no use to others.
_INNER = ("refused", "generation", "journal_gen", "journal_at", "cause", "identity")


def host_public(host: HostState) -> dict[str, Any]:
    """Return what ``sshjobs hosts --json`` prints of a host."""
    row = host.row._asdict()
    for name in _INNER:
        row.pop(name)
    state = host.connection
    row["connected"] = bool(state and state.alive)
    row["master_pid"] = state.pid if state and state.alive else None
    row["cause"] = printable(str(cause_of(host.row))) if host.row.cause else ""
    row["refused"] = printable(host.refused)
    return row
