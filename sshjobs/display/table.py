"""Tables that fit: cells are measured in columns of a terminal, cut and not wrapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..startup.records import Record
from .look import Look
from .text import cut_to_width, measure_width

_GAP = "  "


class Column(Record):
    """A column: its head, and how it gives way where a line is too long.

    ``least`` is the width down to which it is cut; 0: it is never cut.
    """

    head: str
    least: int = 0
    is_right: bool = False


class Cell(Record):
    """A text in a column; ``colour`` is as of ECMA-48."""

    text: str
    colour: str = ""


def yield_table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], look: Look
) -> Iterator[str]:
    """Yield the head and a line a row.

    On a terminal no line is longer than it is wide: the widest column that may be cut
    is cut first. The last column is not filled up with blanks.
    """
    widths = [
        max([len(column.head), *(measure_width(row[place].text) for row in rows)])
        for place, column in enumerate(columns)
    ]
    if look.is_terminal:
        _narrow(widths, columns, look.width)
    head = [Cell(column.head, "1") for column in columns]
    for row in (head, *rows):
        texts = []
        for cell, column, width in zip(row, columns, widths):
            text = cut_to_width(cell.text, width, "…" if look.has_unicode else "~")
            blanks = " " * (width - measure_width(text))
            text = look.paint(text, cell.colour)
            texts.append(blanks + text if column.is_right else text + blanks)
        yield _GAP.join(texts).rstrip()


def _narrow(widths: list[int], columns: Sequence[Column], most: int) -> None:
    """Make columns narrower until a line fits, as far as they go."""
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - most
    while over > 0:
        free = [
            (widths[place] - column.least, place)
            for place, column in enumerate(columns)
            if column.least and widths[place] > column.least
        ]
        if not free:
            return
        _, place = max(free)
        widths[place] -= 1
        over -= 1
