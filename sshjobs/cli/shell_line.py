"""A command line that is not finished, as bash hands it to a completion.

bash splits a line at each character of COMP_WORDBREAKS, ``:`` and ``=`` among them, and
puts what a completion answers in the place of the last piece only, word for word. So
the line is split here as a shell splits it, and an answer is cut to that piece and
quoted for the place where it is to stand (bash(1), "Programmable Completion"; 5.2).
"""

from __future__ import annotations

from ..startup.records import Record

#: Beside letters and digits, a shell takes these for themselves.
_PLAIN = frozenset("_-./,:=@+%")


class Line(Record):
    """A line up to the cursor."""

    words: list[str]  # whole words, without their quotes
    current: str  # the word at the cursor, without its quotes
    kept: str  # the beginning of that word that bash leaves as it is
    quote: str  # the quote that is open at the cursor, or ""


def split_line(text: str, breaks: str) -> Line:
    """Return the words of a line that ends at the cursor.

    Args:
        breaks: The characters of COMP_WORDBREAKS.
    """
    reader = _Reader(breaks)
    for char in text:
        reader.take(char)
    return Line(reader.words, reader.current, reader.kept, reader.quote)


class _Reader:
    """Takes a line apart, character by character; see :class:`Line`."""

    def __init__(self, breaks: str) -> None:
        self.words: list[str] = []
        self.current = self.kept = self.quote = ""
        self._breaks = breaks
        self._is_word = self._is_escaped = False

    def take(self, char: str) -> None:
        """Take the next character."""
        if self._is_escaped:
            # A backslash in double quotes is one, but before these (POSIX 2.2.3).
            is_plain = self.quote and char not in '"\\$`'
            self.current += f"\\{char}" if is_plain else char
            self._is_escaped = False
        elif char == "\\" and self.quote != "'":
            self._is_escaped = self._is_word = True
        elif char == self.quote:
            self.quote, self.kept = "", self.current
        elif self.quote:
            self.current += char
        else:
            self._take_bare(char)

    def _take_bare(self, char: str) -> None:
        """Take a character that no quote holds."""
        if char in " \t\n":
            self.words += [self.current] * self._is_word
            self.current = self.kept = ""
            self._is_word = False
            return
        self._is_word = True
        if char in "\"'":
            self.quote, self.kept = char, self.current
            return
        self.current += char
        self.kept = self.current if char in self._breaks else self.kept


def quote_answer(word: str, line: Line) -> str:
    """Return the text that bash puts in for a word; "" if it cannot stand there."""
    rest = word[len(line.kept) :]
    if line.quote == "'":
        return "" if "'" in rest else rest
    if line.quote == '"':
        # In an interactive shell history expands there, and a backslash would stay.
        escaped = rest.replace("\\", "\\\\").replace('"', '\\"')
        return "" if set("!$`") & set(rest) else escaped
    return "".join(
        char if char.isalnum() or char in _PLAIN else f"\\{char}" for char in rest
    )
