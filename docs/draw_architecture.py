"""Draw the rooms of sshjobs from the imports of its modules (``inv docs``).

A box is a room: a folder below ``sshjobs/``, or a module that stands there alone. Each
room stands above all that it imports. An arrow is an import; an import that a longer
path of arrows already implies is left out. Nothing is placed by hand, so that the
figure is wrong only where the code is.
"""

from __future__ import annotations

import sys
import textwrap
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import NamedTuple

from tests import import_graph

FIGURE = Path(__file__).parent / "explanation" / "architecture.svg"

_WIDTH = 1000
_GAP = 24  # between the boxes of a row
_RISE = 46  # between rows
_LETTER = 6.3  # width of a letter of the small type
_LINE = 15

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
font-family="sans-serif">
<!-- Made by `inv docs` from the imports of sshjobs; change it there. -->
<title>The rooms of sshjobs; each arrow is an import</title>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" \
markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#567"/></marker></defs>
<rect width="{width}" height="{height}" fill="#fff"/>
"""


class Box(NamedTuple):
    """A room on the figure."""

    room: str
    lines: list[str]  #: the names of its modules, broken into lines
    x: float
    y: float
    width: float
    height: float


def draw_rooms() -> str:
    """Return the figure as SVG."""
    modules = import_graph.read_imports()
    rooms = import_graph.read_rooms(modules)
    boxes = place_boxes(rooms, list_files(modules))
    height = max(box.y + box.height for box in boxes.values()) + _GAP
    parts = [_HEAD.format(width=_WIDTH, height=round(height))]
    for room, targets in sorted(import_graph.leave_out_implied(rooms).items()):
        parts += [draw_arrow(boxes[room], boxes[to]) for to in sorted(targets)]
    parts += [draw_box(box) for box in boxes.values()]
    return "".join([*parts, "</svg>\n"])


def list_files(modules: dict[str, set[str]]) -> dict[str, list[str]]:
    """Return the names of each room's modules, folders inside it in front of theirs."""
    files: dict[str, list[str]] = defaultdict(list)
    for module in sorted(modules):
        room, _, rest = module.partition(".")[2].partition(".")
        if rest:
            files[room].append(rest.replace(".", "/"))
    return files


def place_boxes(
    rooms: dict[str, set[str]], files: dict[str, list[str]]
) -> dict[str, Box]:
    """Give each room a box, row below row."""
    boxes: dict[str, Box] = {}
    y = float(_GAP)
    for names in import_graph.order_rows(rooms):
        row = sorted(names, key=lambda room: find_middle(room, rooms, boxes))
        share = (_WIDTH - _GAP) / len(row) - _GAP
        lines = {room: break_names(files.get(room, []), share) for room in row}
        widths = {room: measure_box(room, lines[room]) for room in row}
        space = (_WIDTH - sum(widths.values())) / (len(row) + 1)
        x, height = space, 0.0
        for room in row:
            tall = 26.0 + _LINE * len(lines[room]) + (4 if lines[room] else 0)
            boxes[room] = Box(room, lines[room], x, y, widths[room], tall)
            x, height = x + widths[room] + space, max(height, tall)
        y += height + _RISE
    return boxes


def find_middle(
    room: str, rooms: dict[str, set[str]], boxes: dict[str, Box]
) -> tuple[float, str]:
    """Return where the boxes above, those that import the room, have their middle."""
    above = [box for name, box in boxes.items() if room in rooms[name]]
    middles = [box.x + box.width / 2 for box in above]
    return (sum(middles) / len(middles) if middles else 0.0), room


def break_names(names: list[str], width: float) -> list[str]:
    """Break the names of modules into lines of a box."""
    letters = min(max(int((width - 20) / _LETTER), 20), 76)
    return textwrap.wrap(" ".join(names), letters, break_long_words=False)


def measure_box(room: str, lines: list[str]) -> float:
    """Return the width that a box needs."""
    return max([len(room) * 9.0, *(len(line) * _LETTER for line in lines)]) + 20


def draw_box(box: Box) -> str:
    """Return one box."""
    middle = box.x + box.width / 2
    parts = [
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" '
        f'height="{box.height:.0f}" rx="5" fill="#eef3f8" stroke="#567"/>\n',
        f'<text x="{middle:.0f}" y="{box.y + 18:.0f}" text-anchor="middle" '
        f'font-size="14" font-weight="bold">{escape(box.room)}</text>\n',
    ]
    parts += [
        f'<text x="{middle:.0f}" y="{box.y + 37 + _LINE * number:.0f}" '
        f'text-anchor="middle" font-size="11">{escape(line)}</text>\n'
        for number, line in enumerate(box.lines)
    ]
    return "".join(parts)


def draw_arrow(box: Box, to: Box) -> str:
    """Return the arrow of an import, from the foot of a box to the head of another."""
    x1, y1 = box.x + box.width / 2, box.y + box.height
    x2, y2 = to.x + to.width / 2, to.y
    return (
        f'<path d="M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + _RISE * 0.7:.0f} '
        f'{x2:.0f} {y2 - _RISE * 0.7:.0f} {x2:.0f} {y2:.0f}" fill="none" '
        f'stroke="#567" marker-end="url(#head)"/>\n'
    )


def main(arguments: list[str]) -> int:
    """Write the figure; under ``--check`` return 1 if it is not what would be drawn."""
    drawn = draw_rooms()
    if "--check" not in arguments:
        FIGURE.write_text(drawn, "utf-8")
    elif not FIGURE.exists() or FIGURE.read_text("utf-8") != drawn:
        print(f"{FIGURE.name} is not up to date: run inv docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
