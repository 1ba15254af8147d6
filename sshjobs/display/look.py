"""How output may look where it goes: colour, width, height, letters.

Colour is for terminals, unless ``--color`` says otherwise; NO_COLOR (no-color.org) and
TERM are heard: of a terminal that is dumb, or of which nothing is known, colours would
stand in the text. A pipe gets whole lines of plain text.
"""

from __future__ import annotations

import os

from ..startup.records import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

#: Of a terminal that does not tell its size.
_COLUMNS, _LINES = 80, 24


class Look(Record):
    """The abilities of a stream; of a pipe, width and height are 0."""

    has_colour: bool = False
    width: int = 0
    height: int = 0
    has_unicode: bool = True

    @property
    def is_terminal(self) -> bool:
        """Tell whether a person looks at it, as it is printed."""
        return self.width > 0

    def paint(self, text: str, code: str) -> str:
        """Return a text in a colour of ECMA-48, or as it is."""
        return f"\033[{code}m{text}\033[0m" if self.has_colour and code else text


def find_look(stream: TextIO, when: str, environ: Mapping[str, str]) -> Look:
    """Return how a stream may look.

    Args:
        when: As ``--color`` has it: always, never, else auto.
    """
    is_terminal = stream.isatty()
    is_plain = environ.get("NO_COLOR") or environ.get("TERM", "") in ("", "dumb")
    has_colour = when == "always" or (is_terminal and not is_plain and when != "never")
    has_unicode = "utf" in (stream.encoding or "").lower()
    if not is_terminal:
        return Look(has_colour, has_unicode=has_unicode)
    try:
        width, height = os.get_terminal_size(stream.fileno())
    except OSError:
        width, height = 0, 0
    told = environ.get("COLUMNS", "")
    width = int(told) if told.isascii() and told.isdigit() and len(told) < 5 else width
    return Look(has_colour, width or _COLUMNS, height or _LINES, has_unicode)
