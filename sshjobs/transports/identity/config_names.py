"""The names of hosts that an ssh configuration lists, for the completion of words.

A reading of its own, since ``ssh -G`` answers for one name and lists none. It follows
Include, takes each name of a Host line, and leaves out patterns and Match.
"""

from __future__ import annotations

import os
import re
import stat

from ...startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: ssh itself follows Includes to this depth (readconf.c, READCONF_MAX_DEPTH).
_DEPTH = 16

#: No configuration that a person keeps is longer; a file beyond it is read so far.
_MOST_BYTES = 1 << 20

#: Of all files together, so many are read.
_MOST_FILES = 500

_LINE = re.compile(r"\s*(host|include)(?:\s*=\s*|\s+)(.*)", re.I)

_WORD = re.compile(r'"([^"]*)"|\'([^\']*)\'|((?:\\.|[^\s"\'\\])+)')


def split_config_words(line: str) -> list[str]:
    """Return the words of a line: a quoted one may hold blanks (misc.c, 9.2)."""
    words = []
    for double, single, plain in _WORD.findall(line):
        if plain.startswith("#"):
            break
        words.append(double or single or re.sub(r"\\(.)", r"\1", plain))
    return words


def list_config_hosts(paths: Sequence[str], home: str) -> list[str]:
    """Return the names that configurations list, in their order, each once.

    Args:
        paths: The files where ssh begins to read; they need not be there.
        home: The directory of ``~``.
    """
    found: dict[str, None] = {}
    seen: set[str] = set()
    for path in paths:
        folder = "/etc/ssh" if path.startswith("/etc/") else os.path.join(home, ".ssh")
        for name in _yield_names(path, folder, home, seen, _DEPTH):
            found[name] = None
    return list(found)


def _yield_names(
    path: str, folder: str, home: str, seen: set[str], depth: int
) -> Iterator[str]:
    if path in seen or not depth or len(seen) >= _MOST_FILES:
        return
    seen.add(path)
    for line in _read_config_text(path).splitlines():
        match = _LINE.fullmatch(line)
        for word in split_config_words(match[2]) if match else ():
            if match and match[1].lower() == "include":
                import glob

                word = re.sub("^~(?=/)", lambda _: home, word)
                for other in sorted(glob.glob(os.path.join(folder, word))):
                    yield from _yield_names(other, folder, home, seen, depth - 1)
            elif not set("*?!") & set(word):
                yield word


def _read_config_text(path: str) -> str:
    """Return the text of a regular file, "" of anything else: a FIFO would hang."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return os.read(fd, _MOST_BYTES).decode("utf-8", "replace")
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return ""
