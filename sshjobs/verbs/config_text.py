"""The contents of a config file: parsed, or kept from the last time.

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
import sys
import time

from .. import errors
from ..owned import check_dir, open_owned
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import RawIOBase
    from typing import Any


#: Between two lines, and between the words of one: no value that has one is kept.
_LINE, _WORD = "\x1e", "\x1f"

#: A change of this many seconds ago shows in the instants of a file, whatever the
#: granularity of its file system (2 s: FAT).
_SETTLED = 3.0

#: Before the name of a pool, where else that of a host stands.
_POOL = "\x1d"

#: Between the hosts of a pool: no name of a host has one.
_COMMA = ","

_KINDS: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": "True".__eq__,
    "list": lambda text: text.split(_COMMA),
}


def read_values(path: str, file: RawIOBase, home: str) -> Mapping[str, Any]:
    """Return the values of an open config file, parsed only if they are not kept.

    Raises:
        SpecError: it is no TOML.
    """
    stamp = _describe_file(path, os.fstat(file.fileno()))
    kept = load_kept(home, stamp)
    if kept is not None:
        return kept
    config = parse_toml(path, file.read() or b"")
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
    return _WORD.join(map(str, (*words, found.st_mtime_ns, found.st_ctime_ns)))


def load_kept(home: str, stamp: str) -> dict[str, Any] | None:
    """Return the values that were kept of the file as it is, None if there are none."""
    if not (home and stamp):
        return None
    try:
        check_dir(home)
        with open(open_owned(_locate_kept(home), os.O_RDONLY), "rb") as file:
            first, *lines = file.read().decode("utf-8").split(_LINE)
        if first != stamp or lines.pop():  # of another file, or not whole
            return None
        config: dict[str, Any] = {}
        for line in lines:
            host, name, kind, value = line.split(_WORD)
            table = config
            if host:
                is_pool = host[:1] == _POOL
                tables = config.setdefault("pools" if is_pool else "host", {})
                table = tables.setdefault(host[is_pool:], {})
            if name:  # else a host's table that is empty
                table[name] = _KINDS[kind](value)
    except (OSError, ValueError, KeyError, IndexError, errors.StoreError):
        return None  # none, or not ours: the file itself is read
    return config


def keep_values(home: str, stamp: str, config: Mapping[str, Any]) -> None:
    """Keep parsed values for the next process; a file that is no use is not kept."""
    if not (home and stamp):
        return
    path = _locate_kept(home)
    new = f"{path}.{os.getpid()}"
    try:
        lines = [stamp, *_list_values(config), ""]
        data = _LINE.join(lines).encode("utf-8")
        if data.count(_LINE.encode()) != len(lines) - 1:
            return
        check_dir(home)
        fd = open_owned(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(new, path)
    except (OSError, ValueError, errors.StoreError):
        return  # no home yet, no room, or a value of a kind that no setting has


def _list_values(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each value, and one for each table of a host.

    Raises:
        ValueError: there is something that a config file should not have; it is
            parsed each time, and refused.
    """
    hosts, pools = config.get("host", {}), config.get("pools", {})
    if not (isinstance(hosts, dict) and isinstance(pools, dict)):
        raise ValueError
    others = {name: config[name] for name in config if name not in ("host", "pools")}
    tables = [("", others), *hosts.items()]
    tables += [(_POOL + name, pool) for name, pool in pools.items()]
    if any(host[:1] == _POOL for host in hosts):
        raise ValueError
    for host, values in tables:
        if not isinstance(values, dict):
            raise ValueError
        if host:
            yield _WORD.join((host, "", "", ""))
        for name, value in values.items():
            text = _join_hosts(value) if isinstance(value, list) else str(value)
            line = _WORD.join((host, name, type(value).__name__, text))
            if not name or type(value).__name__ not in _KINDS or line.count(_WORD) != 3:
                raise ValueError
            yield line


def _join_hosts(values: list[Any]) -> str:
    """Return an array as one text.

    Raises:
        ValueError: it could not be told apart again.
    """
    plain = [
        value for value in values if isinstance(value, str) and _COMMA not in value
    ]
    if not plain or len(plain) != len(values):
        raise ValueError
    return _COMMA.join(plain)


def _locate_kept(home: str) -> str:
    return os.path.join(home, "config.parsed")


def parse_toml(path: str, text: bytes) -> dict[str, Any]:
    """Return the values of a config file.

    Raises:
        SpecError: it is no TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        values: dict[str, Any] = tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise errors.SpecError(f"{path}: {error}") from error
    return values
