"""Texts of jobs and hosts as texts of a page: nothing in them is markup or control."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from html import escape

from ..model import printable
from ..states import STATES

#: Colours of a terminal (ECMA-48 SGR), which a log may be full of.
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


def escape_text(text: object) -> str:
    """Return a text for an element or a quoted attribute of a page.

    Control characters, marks of direction and stray bytes stand there as escapes.
    """
    return escape(printable(str(text)), quote=True)


def clean_log_lines(data: bytes, count: int) -> list[str]:
    """Return the last lines of a log; of a line written anew (CR) the last state."""
    text = _COLOURS.sub("", data.decode("utf-8", "replace"))
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    lines = [line.expandtabs(4)[:1000] for line in lines if line.strip()]
    return lines[-count:]


def build_table(
    heads: Iterable[str], rows: Iterable[Iterable[object]], kinds: str
) -> str:
    """Return a table of texts and of markup.

    Args:
        kinds: A letter a column: ``n`` a number, ``t`` a long text, ``w`` a word, and
            ``m`` markup, which stands as it is.
    """
    head = "".join(
        f'<th scope="col" class="{kind}">{escape_text(text)}</th>'
        for kind, text in zip(kinds, heads)
    )
    lines = [f"<thead><tr>{head}</tr></thead><tbody>"]
    for row in rows:
        cells = (
            f'<td class="{kind}">{cell if kind == "m" else escape_text(cell)}</td>'
            for kind, cell in zip(kinds, row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join(['<div class="scroll"><table>', *lines, "</tbody></table></div>"])


def count_states(found: Iterable[str]) -> dict[str, int]:
    """Return how many there are of each state, in the order of the state table."""
    counts = dict.fromkeys(STATES, 0)
    for state in found:
        counts[state] += 1
    return {state: count for state, count in counts.items() if count}


def choose_ticks(start: float, end: float, most: int) -> list[tuple[float, str]]:
    """Return instants for an axis of local time, and their labels."""
    steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800]
    steps += [21600, 43200, 86400, 172800, 604800, 1209600, 2592000]
    step = next((one for one in steps if (end - start) / one <= most), 0)
    if not step:
        step = 31536000 * max(1, int((end - start) / 31536000 / most + 1))
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%Y-%m-%d"
    zone = time.localtime(start).tm_gmtoff
    at = (int(start + zone) // step + 1) * step - zone
    ticks = []
    day = ""
    while at <= end:
        here = time.localtime(at)
        label, date = time.strftime(form, here), time.strftime("%d %b", here)
        if step < 86400 and date != day:
            label, day = f"{label} {date}", date
        ticks.append((float(at), label))
        at += step
    return ticks
