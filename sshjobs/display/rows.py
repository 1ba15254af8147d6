"""The ledger of the hosts: a row a host, for people and as JSON."""

from __future__ import annotations

from ..model import printable
from ..rounds import cause_of, cooldown_end
from ..startup.records import TYPE_CHECKING
from .look import Look
from .table import Cell, Column, yield_table_lines
from .text import cut_to_width, format_instant, format_size, format_span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..verbs.hosts import HostState


#: Of the ledger at a terminal; those of the second row stand where there is room.
_COLUMNS = (
    *(Column("HOST", 6), Column("CONNECTION", 8), Column("HANDSHAKES", is_right=True)),
    *(Column("DROPS", is_right=True), Column("SESSIONS", is_right=True)),
    *(Column("ROUNDS", is_right=True), Column("REFUSALS", is_right=True)),
)
_MORE_COLUMNS = (
    *(Column("IN", is_right=True), Column("OUT", is_right=True), Column("SINCE")),
)
_WIDE = 110


def yield_host_lines(
    hosts: Sequence[HostState], now: float, look: Look | None = None
) -> Iterator[str]:
    """Yield the ledger, a head line and a line a host, and lines on its obstacles."""
    look = look or Look()
    rows = [_build_cells(host) for host in hosts]
    columns: tuple[Column, ...] = (*_COLUMNS, *_MORE_COLUMNS)
    if look.is_terminal and look.width < _WIDE:
        columns, rows = _COLUMNS, [row[: len(_COLUMNS)] for row in rows]
    head, *lines = yield_table_lines(columns, rows, look)
    yield head
    for host, line in zip(hosts, lines):
        yield line
        end = cooldown_end(host.row, now)
        note = ""
        if end > now:
            left, cause = format_span(end - now), printable(str(cause_of(host.row)))
            note = f"    cooldown for {left}: {cause}"
        elif host.refused:
            note = f"    not tried again: {printable(host.refused)}"
        if note:
            cut = cut_to_width(note, look.width) if look.is_terminal else note
            yield look.paint(cut, "31")


def _build_cells(host: HostState) -> list[Cell]:
    row, connection = host.row, name_connection(host)
    counts = row.handshakes, row.drops, row.sessions, row.rounds, row.refusals
    came, went = format_size(row.bytes_in), format_size(row.bytes_out)
    return [
        Cell(printable(row.host)),
        Cell(connection, "32" if connection.startswith("open") else ""),
        *(Cell(str(count)) for count in counts),
        *(Cell(came), Cell(went), Cell(format_instant(row.since))),
    ]


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
