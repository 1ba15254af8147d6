"""The ledger of the hosts: a row a host, for people and as JSON."""

from __future__ import annotations

from ..model import printable
from ..rounds import cause_of, cooldown_end
from ..startup.records import TYPE_CHECKING
from .text import format_instant, format_size, format_span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ..verbs.hosts import HostState


def yield_host_lines(hosts: Iterable[HostState], now: float) -> Iterator[str]:
    """Yield the ledger, a head line and a line a host."""
    yield (
        f"{'HOST':<20} {'CONNECTION':<12} {'HANDSHAKES':>10} {'DROPS':>6} "
        f"{'SESSIONS':>8} {'ROUNDS':>7} {'REFUSALS':>8} {'IN':>8} {'OUT':>8}  SINCE"
    )
    for host in hosts:
        row = host.row
        came, went = format_size(row.bytes_in), format_size(row.bytes_out)
        yield (
            f"{printable(row.host):<20} {name_connection(host):<12} "
            f"{row.handshakes:>10} {row.drops:>6} {row.sessions:>8} {row.rounds:>7} "
            f"{row.refusals:>8} {came:>8} {went:>8}  {format_instant(row.since)}"
        )
        end = cooldown_end(row, now)
        if end > now:
            left, cause = format_span(end - now), printable(str(cause_of(row)))
            yield f"    cooldown for {left}: {cause}"
        elif host.refused:
            yield f"    not tried again: {printable(host.refused)}"


def name_connection(host: HostState) -> str:
    """Return the state of a host's connection in a word."""
    if host.row.host == "local":
        return "local"
    state = host.connection
    if state is None:
        return "unknown"
    if state.pid is not None:
        return f"{'open' if state.alive else 'stuck'} ({state.pid})"
    return "open" if state.alive else "none"


#: What of a host's row is of no use to others.
_INNER = ("refused", "generation", "journal_gen", "journal_at", "cause", "identity")


def build_host_object(host: HostState) -> dict[str, Any]:
    """Return the row that ``sshjobs hosts --json`` prints of a host."""
    row = host.row._asdict()
    for name in _INNER:
        row.pop(name)
    state = host.connection
    row["connected"] = bool(state and state.alive)
    row["master_pid"] = state.pid if state and state.alive else None
    row["cause"] = printable(str(cause_of(host.row))) if host.row.cause else ""
    row["refused"] = printable(host.refused)
    return row
