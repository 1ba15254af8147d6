"""Which files a copy means on a host: the question, and the reader of its answer.

Theory of operation: the host's ``sh`` expands the patterns, since only it sees the
files; all else in a pattern travels as quoted words, so that nothing of a name is run.
The answer is words with NUL bytes between them behind a nonce. A host is not trusted
with this machine: the last part of each path becomes the name of a file here, so it
must be one that the pattern means (scp trusted the host in that, CVE-2019-6111).
"""

from __future__ import annotations

import re

from ..errors import ProtocolError
from ..quoting import FS_CODEC, quote
from ..startup.records import TYPE_CHECKING, Record
from .program import read_part

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes of an answer: 100,000 files of 160 bytes each.
MAX_ANSWER = 16 << 20

#: Bytes of a name, limits.h(0p): no file system of ours takes more.
_NAME_MAX = 255

#: A run of bytes that stand for themselves, or one mark of a pattern (POSIX 2.13).
_TOKEN = re.compile(rb"\*+|\?|\[!?(?:\][^]/]*|[^]/]+)\]|[^*?[]+|\[", re.S)

#: One character of UTF-8, or one byte, as the host's shell may have it.
_ONE = rb"(?:[\xc2-\xf4][\x80-\xbf]{1,3}|.)"


class Found(Record):
    """A file on a host that a pattern means."""

    kind: str  #: f a file, d a directory, o something else, p no permission, n none
    path: bytes  #: absolute, without links but for its last part
    pattern: int  #: which pattern has found it

    @property
    def name(self) -> bytes:
        """The last part of the path."""
        return self.path.rpartition(b"/")[2]


class FilesAnswer(Record):
    """The answer of a host: its directory and tool, then the files or the place."""

    base: str  #: in, gone or shut; for a place the letter of :attr:`Found.kind`
    path: bytes
    has_rsync: bool
    files: tuple[Found, ...] = ()


def build_files_question(base: bytes, patterns: Sequence[bytes], nonce: str) -> bytes:
    """Return the program that lists the files which patterns mean.

    Args:
        base: The directory that they are relative to; "" is the login directory.
    """
    calls = [b"sj_enter_dir " + quote(base)]
    for number, pattern in enumerate(patterns):
        start = b"" if pattern.startswith(b"/") else b"./"
        if pattern.startswith(b"~/"):
            start, pattern = b'"${sj_home%/}"/', pattern[2:]
        calls.append(b"sj_show_files %d %s" % (number, start + _quote_pattern(pattern)))
    return _build_program(calls, nonce)


def build_place_question(path: bytes, make: bool, nonce: str) -> bytes:
    """Return the program that looks at the place where files are to go."""
    return _build_program([b"sj_find_target %s %s" % (quote(path), b"1" * make)], nonce)


def _build_program(calls: list[bytes], nonce: str) -> bytes:
    # One compound: a program that was cut does nothing.
    lines = [
        b"{ set +efCnuvx",
        read_part("files.sh") + b"sj_find_home",
        b"printf '\\n%s\\0' " + nonce.encode("ascii"),
        *calls,
        b"sj_find_tool",
        b"sj_print_words end " + nonce.encode("ascii"),
        b"}\nexit\n",
    ]
    return b"\n".join(lines)


def _quote_pattern(pattern: bytes) -> bytes:
    """Return a pattern as a word of sh in which nothing but its marks is special."""
    pieces = []
    for token in _TOKEN.findall(pattern):
        if token[:1] in (b"*", b"?"):
            pieces.append(token)
        elif token[:1] == b"[" and token[-1:] == b"]":
            marks = re.compile(rb"[A-Za-z0-9-]+|[^A-Za-z0-9-]+", re.S)
            inner = token[1:-1]
            start = b"[!" if inner[:1] == b"!" and len(inner) > 1 else b"["
            words = marks.findall(inner[len(start) - 1 :])
            quoted = (
                word if word[:1].isalnum() or word[:1] == b"-" else quote(word)
                for word in words
            )
            pieces.append(start + b"".join(quoted) + b"]")
        else:
            pieces.append(quote(token))
    return b"".join(pieces)


def is_meant(pattern: bytes, name: bytes) -> bool:
    """Tell whether a name may be one that the last part of a pattern means.

    The host's shell is a little free in it: a set of characters follows its language.
    """
    last = pattern.rpartition(b"/")[2]
    if not 0 < len(name) <= _NAME_MAX or b"/" in name or name in (b".", b".."):
        return False
    if name == last:  # a pattern that matches nothing means itself, as in a shell
        return True
    if name.startswith(b".") and not last.startswith(b"."):
        return False
    parts = []
    for token in _TOKEN.findall(last):
        if token[:1] == b"*":
            parts.append(b".*")
        elif token == b"?" or (token[:1] == b"[" and len(token) > 1):
            parts.append(_ONE)
        else:
            parts.append(re.escape(token))
    return re.fullmatch(b"".join(parts), name, re.S) is not None


def read_files_answer(
    host: str, data: bytes, nonce: str, patterns: Sequence[bytes]
) -> FilesAnswer:
    """Return the checked answer to :func:`build_files_question`, or to the other one.

    Raises:
        ProtocolError: it is cut, or names a file that no pattern means.
    """
    fence = nonce.encode("ascii")
    words = data.partition(b"\n" + fence + b"\0")[2].split(b"\0")
    if words[-3:] != [b"end", fence, b""] or len(words) < 6 or len(words) % 2:
        raise ProtocolError(host, "the list of its files did not arrive whole", data)
    base, path, *rest, tool = words[:-3]
    numbers = {b"%d" % number: number for number in range(len(patterns))}
    files = []
    for mark, found in zip(rest[::2], rest[1::2]):
        number, kind = numbers.get(mark[:-1]), mark[-1:].decode("ascii", "replace")
        if number is None or kind not in "fdopn":
            raise ProtocolError(host, "it named a file in an unknown way", mark)
        file = Found(kind, found, number)
        if kind != "n" and not (
            found.startswith(b"/") and is_meant(patterns[file.pattern], file.name)
        ):
            raise ProtocolError(host, "it named a file that nobody asked for", found)
        files.append(file)
    return FilesAnswer(base.decode(*FS_CODEC), path, tool == b"rsync", tuple(files))
