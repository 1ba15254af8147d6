"""Words of POSIX sh, and the escapes of a frame's words, from any bytes."""

from __future__ import annotations

#: How text becomes the bytes that travel, and back.
FS_CODEC = ("utf-8", "surrogateescape")

#: What a word or a text may hold as it is; all else travels as ``%XX``.
WORD_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("%"))
TEXT_BYTES = b" " + WORD_BYTES


def quote(data: bytes) -> bytes:
    """Return ``data`` as one word of POSIX sh."""
    return b"'" + data.replace(b"'", b"'\\''") + b"'"


def quote_text(text: str) -> str:
    """Return ``text`` as one word of POSIX sh."""
    return quote(text.encode(*FS_CODEC)).decode(*FS_CODEC)


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
