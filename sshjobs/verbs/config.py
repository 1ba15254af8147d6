"""The config file: its place and its contents.

Theory of operation: to read TOML costs every process some 15 ms, most of it for the
modules of the parser. So the values are kept in the home as well, in lines that need
no parser, beside the path, the inode, the length and the two instants of change of
the file that they were read from. The file itself is opened and checked at every start;
its text is read and parsed only if one of these differs. A file that changed so lately
that a second change may show no other instant is not kept (as in Git's index,
racy-git.txt).
"""

from __future__ import annotations

import os
import time

from .. import errors
from ..owned import check_config as check_config_file
from ..owned import check_dir, open_owned
from ..startup.records import TYPE_CHECKING
from ..store import login_home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


#: Between two lines, and between the words of one: no value that has one is kept.
LINE, WORD = "\x1e", "\x1f"

#: A change of this many seconds ago shows in the instants of a file, whatever the
#: granularity of its file system (2 s: FAT).
_SETTLED = 3.0

#: Before the name of a pool, where else that of a host stands.
POOL = "\x1d"

#: Between the hosts of a pool: no name of a host has one.
COMMA = ","

KINDS: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": "True".__eq__,
    "list": lambda text: text.split(COMMA),
}


def read_config(environ: Mapping[str, str], home: str = "") -> Mapping[str, Any]:
    """Return the config file, parsed; empty if there is none.

    Args:
        home: Where the parsed values are kept for the next process, if it is there.

    Source: ``SSHJOBS_CONFIG``, else ``~/.config/sshjobs/config.toml``.
    """
    path = environ.get("SSHJOBS_CONFIG", "")
    if not path and (login := login_home()):
        path = os.path.join(login, ".config", "sshjobs", "config.toml")
    if not path:
        return {}
    try:
        with open(path, "rb", buffering=0) as file:
            check_config_file(path, file.fileno())
            stamp = _describe_file(path, os.fstat(file.fileno()))
            kept = _load_kept(home, stamp)
            if kept is not None:
                return kept
            text = file.readall()
    except FileNotFoundError as error:
        if environ.get("SSHJOBS_CONFIG"):
            raise errors.SpecError(f"SSHJOBS_CONFIG: {path}: no such file") from error
        return {}
    except OSError as error:
        raise errors.SpecError(f"{path}: {error.strerror}") from error
    from .config_text import keep_values, parse_toml

    config = parse_toml(path, text)
    keep_values(home, stamp, config)
    return config


def _describe_file(path: str, found: os.stat_result) -> str:
    """Return a line that differs once the file does; "" if it may change unseen."""
    now = time.time()
    # A pipe has no length, and a clock that was set back makes any instant possible.
    settled = max(found.st_mtime, found.st_ctime) < now - _SETTLED
    if not (settled and found.st_size):
        return ""
    words = (path, found.st_dev, found.st_ino, found.st_size)
    return WORD.join(map(str, (*words, found.st_mtime_ns, found.st_ctime_ns)))


def _load_kept(home: str, stamp: str) -> dict[str, Any] | None:
    """Return the values that were kept of the file as it is, None if there are none."""
    if not (home and stamp):
        return None
    try:
        check_dir(home)
        with open(open_owned(locate_kept(home), os.O_RDONLY), "rb") as file:
            first, *lines = file.read().decode("utf-8").split(LINE)
        if first != stamp or lines.pop():  # of another file, or not whole
            return None
        config: dict[str, Any] = {}
        for line in lines:
            host, name, kind, value = line.split(WORD)
            table = config
            if host:
                is_pool = host[:1] == POOL
                tables = config.setdefault("pools" if is_pool else "host", {})
                table = tables.setdefault(host[is_pool:], {})
            if name:  # else a host's table that is empty
                table[name] = KINDS[kind](value)
    except (OSError, ValueError, KeyError, IndexError, errors.StoreError):
        return None  # none, or not ours: the file itself is read
    return config


def locate_kept(home: str) -> str:
    return os.path.join(home, "config.parsed")
