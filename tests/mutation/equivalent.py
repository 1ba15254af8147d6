"""Mutants that change nothing that anybody could notice, each with the reason.

They are counted apart, and are at most one in twenty of a module. An entry that fits
no mutant, or one that a test notices, fails the run: then it is to go.
"""

from __future__ import annotations

from typing import NamedTuple


class Equivalent(NamedTuple):
    """A mutant as ``inv mutate`` shows it, and why no test can tell it apart."""

    module: str
    scope: str
    before: str
    after: str
    reason: str


_CUT_TEXT = "return printable(decode_escapes(data[:MAX_LINE{}]))[:_MAX_TEXT]"
_STRAY = "stray = any(('\\ud800' {} char {} '\\udfff' for char in text))"
_SET = "if token == b'?' or (token[:1] == b'[' and len(token) > {}):"
_WHOLE = "if words[-3:] != [b'end', fence, b''] or len(words) < {} or len(words) % 2:"
_CLOSE = "close = self._buffer.find(b'\\n', at + {}) if at >= 0 else -{}"

EQUIVALENT: tuple[Equivalent, ...] = (
    *(
        Equivalent(
            "protocol.frames",
            "read_text",
            _CUT_TEXT.format(""),
            _CUT_TEXT.format(moved),
            "65,535 bytes hold more characters than are kept",
        )
        for moved in (" + 1", " - 1")
    ),
    *(
        Equivalent(
            "protocol.frames",
            "read_key",
            _STRAY.format("<=", "<="),
            _STRAY.format(*signs),
            "bytes that are no UTF-8 become U+DC80 to U+DCFF, and nothing else does",
        )
        for signs in (("<", "<="), ("<=", "<"))
    ),
    Equivalent(
        "protocol.frames",
        "read_instant",
        "if not data.replace(b'.', b'', 1).isdigit():",
        "if not data.replace(b'.', b'', 2).isdigit():",
        "float() refuses two points, with the same class of error",
    ),
    Equivalent(
        "protocol.files",
        "is_meant",
        _SET.format(1),
        _SET.format(2),
        "a set is three bytes at least",
    ),
    Equivalent(
        "protocol.files",
        "read_files_answer",
        _WHOLE.format(6),
        _WHOLE.format(5),
        "five words are an odd number, which is refused by itself",
    ),
    Equivalent(
        "protocol.reply",
        "Reply._find_fence",
        "if len(self.preamble) < _PREAMBLE_BYTES:",
        "if len(self.preamble) <= _PREAMBLE_BYTES:",
        "a whole preamble is cut to itself",
    ),
    *(
        Equivalent(
            "protocol.reply",
            "Reply._read_log",
            _CLOSE.format(1, 1),
            _CLOSE.format(*numbers),
            reason,
        )
        for numbers, reason in (
            ((2, 1), "the nonce that follows the newline holds none"),
            ((1, 2), "any number below zero means that there is none"),
        )
    ),
    Equivalent(
        "protocol.reply",
        "Reply._read_log",
        "if close >= 0:",
        "if close > 0:",
        "the mark stands before it",
    ),
)
