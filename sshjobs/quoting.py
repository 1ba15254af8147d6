"""Words as their readers take them: sh, ssh_config(5), sftp(1), printf(1), a frame.

The one place that quotes; ``tests/test_one_place.py`` looks for others. Pure.
"""

from __future__ import annotations

from .startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How text becomes the bytes that travel, and back.
FS_CODEC = ("utf-8", "surrogateescape")

#: What a word or a text of a frame may hold as it is; all else travels as ``%XX``.
WORD_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("%"))
TEXT_BYTES = b" " + WORD_BYTES

#: What means itself in every shell, wherever in a word it stands; ``~`` and ``#`` begin
#: something else at the start of one (POSIX.1-2017, XCU 2.2 and 2.6.1).
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"


def quote(data: bytes) -> bytes:
    """Return ``data`` as one word of POSIX sh."""
    return b"'" + data.replace(b"'", b"'\\''") + b"'"


def quote_text(text: str) -> str:
    """Return ``text`` as one word of POSIX sh."""
    return "'" + text.replace("'", "'\\''") + "'"


def quote_if_needed(text: str) -> str:
    """Return ``text`` as one word of POSIX sh, as it is where it means itself."""
    return text if text and not text.strip(_PLAIN) else quote_text(text)


def join_words(words: Iterable[str]) -> str:
    """Return a command line of POSIX sh, for a person to read or copy."""
    return " ".join(map(quote_if_needed, words))


def quote_for_config(text: str) -> str:
    """Return ``text`` as one word of ssh_config(5), as it is where it means itself.

    Source: argv_split() and strdelim() of OpenSSH 9.2 (misc.c). Before 8.7 a word in
    quotes could hold no quote.
    """
    if text and not set(text) & set(" \t\"'\\#"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quote_for_sftp(path: bytes) -> bytes:
    """Return a path as a word of an sftp batch, in which nothing is a pattern.

    Quotes take the meaning from the marks of a pattern (sftp.c makeargv(), 9.2).
    """
    return b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def quote_for_rsync_rule(name: bytes, is_directory: bool) -> bytes:
    """Return the rule of rsync(1) that means one name alone, and all below it.

    A backslash means itself in a rule without the marks of a pattern (FILTER RULES).
    """
    if is_directory or set(name) & set(b"*?["):
        for mark in (b"\\", b"*", b"?", b"["):
            name = name.replace(mark, b"\\" + mark)
    return b"/" + name + b"/***" * is_directory


def escape_percent(text: str) -> str:
    """Return ``text`` so that ssh expands no token in it (ssh_config(5), TOKENS)."""
    return text.replace("%", "%%")


def build_printf_format(data: bytes) -> bytes:
    """Return a format of printf(1) that prints ``data``, which may hold NUL bytes."""
    if not data:
        return b"%s"
    text = data.replace(b"\\", b"\\\\").replace(b"%", b"%%").replace(b"\0", b"\\000")
    return b"\\055" + text[1:] if text.startswith(b"-") else text


def escape_word(allowed: bytes, text: str) -> bytes:
    """Return ``text`` with each byte that is not among ``allowed`` as ``%XX``."""
    data = text.encode(*FS_CODEC)
    if not data.translate(None, allowed):
        return data
    pieces = (b"%c" if byte in allowed else b"%%%02X" for byte in data)
    return b"".join(piece % byte for piece, byte in zip(pieces, data))


def build_call(function: str, *words: object) -> bytes:
    """Return a call of a function of ``remote/``; plain words stay readable."""
    encoded = (str(word).encode(*FS_CODEC) for word in words)
    return b" ".join([function.encode("ascii"), *map(quote, encoded)])
