"""The picture of a report of connections and sessions over time, as SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..store.traffic import SPAN, TrafficRow
from .report_chart import LEFT, RIGHT, WIDTH, draw_axis

#: The line of connections, and where the columns of sessions begin and end.
_MARKS, _TOP, _BOTTOM = 38, 62, 152

#: No more columns than this: a longer time has longer ones.
_MOST = 144


def build_traffic(rows: Sequence[TrafficRow]) -> str:
    """Return a picture of connections made and sessions begun, of all hosts together.

    Args:
        rows: The ledger by time, in any order.
    """
    if not rows:
        return ""
    start = min(row.at for row in rows)
    end = max(row.at for row in rows) + SPAN
    spans = -(-(end - start) // SPAN)
    width = SPAN * max(1, -(-spans // _MOST))
    sums = {name: Counter[int]() for name in ("handshakes", "drops", "sessions")}
    for row in rows:
        column = int((row.at - start) // width)
        for name, counter in sums.items():
            counter[column] += getattr(row, name)
    scale = (RIGHT - LEFT) / (-(-(end - start) // width) * width)
    pieces = [
        draw_axis(start, end, scale, _BOTTOM),
        f'<path class="grid" d="M{LEFT} {_BOTTOM}.5H{RIGHT}"/>',
        f'<text class="host" x="{LEFT}" y="{_MARKS - 10}">connections</text>',
        f'<text class="host" x="{LEFT}" y="{_TOP - 2}">sessions, at most '
        f"{max(sums['sessions'].values())} in {_name_span(width)}</text>",
    ]
    most = max(1, *sums["sessions"].values())
    for column in sorted({n for counter in sums.values() for n in counter}):
        x = LEFT + column * width * scale
        counts = {name: counter[column] for name, counter in sums.items()}
        pieces.append(_draw_column(x, width * scale, counts, most))
    made, drops, begun = (sum(counter.values()) for counter in sums.values())
    label = f"{made} connection{'s' * (made != 1)} and {begun} session"
    label += "s" * (begun != 1)
    return (
        f'<div class="scroll"><svg class="chart" role="img" '
        f'viewBox="0 0 {WIDTH} {_BOTTOM + 6}" aria-label="{label} over time">'
        f'{"".join(pieces)}</svg></div><p class="soft">{label} while these jobs were '
        f"there, {drops} dropped; a column is {_name_span(width)}. A point is a "
        "connection that was made.</p>"
    )


def _draw_column(x: float, width: float, counts: dict[str, int], most: int) -> str:
    """Return a column of sessions, and above it a point where connections were made."""
    handshakes, drops, sessions = counts.values()
    height = (_BOTTOM - _TOP - 6) * sessions / most
    words = f"{handshakes} connections, {drops} drops, {sessions} sessions"
    piece = (
        f"<g><title>{words}</title>"
        f'<rect class="bar" x="{x:.1f}" y="{_BOTTOM - height:.1f}" '
        f'width="{max(1.5, width - 1):.1f}" height="{height:.1f}"/>'
    )
    if handshakes:
        middle = x + width / 2
        piece += f'<circle class="bar" cx="{middle:.1f}" cy="{_MARKS}" r="3.5"/>'
        if handshakes > 1:
            piece += f'<text x="{middle + 6:.1f}" y="{_MARKS + 4}">{handshakes}</text>'
    return f"{piece}</g>"


def _name_span(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes == 1:
        return "a minute"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
