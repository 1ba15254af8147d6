"""The text of a config file, when it has changed: parsed, and its values kept.

Apart from :mod:`.config`, which each start reads: this is for the first one after a
change.
"""

from __future__ import annotations

import os
import sys

from .. import errors
from ..owned import check_dir, open_owned
from ..startup.records import TYPE_CHECKING
from .config import COMMA, KINDS, LINE, POOL, WORD, locate_kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


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


def keep_values(home: str, stamp: str, config: Mapping[str, Any]) -> None:
    """Keep parsed values for the next process; a file that is no use is not kept."""
    if not (home and stamp):
        return
    path = locate_kept(home)
    new = f"{path}.{os.getpid()}"
    try:
        lines = [stamp, *_list_values(config), ""]
        data = LINE.join(lines).encode("utf-8")
        if data.count(LINE.encode()) != len(lines) - 1:
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
    tables += [(POOL + name, pool) for name, pool in pools.items()]
    if any(host[:1] == POOL for host in hosts):
        raise ValueError
    for host, values in tables:
        if not isinstance(values, dict):
            raise ValueError
        if host:
            yield WORD.join((host, "", "", ""))
        for name, value in values.items():
            text = _join_hosts(value) if isinstance(value, list) else str(value)
            line = WORD.join((host, name, type(value).__name__, text))
            if not name or type(value).__name__ not in KINDS or line.count(WORD) != 3:
                raise ValueError
            yield line


def _join_hosts(values: list[Any]) -> str:
    """Return an array as one text.

    Raises:
        ValueError: it could not be told apart again.
    """
    plain = [value for value in values if isinstance(value, str) and COMMA not in value]
    if not plain or len(plain) != len(values):
        raise ValueError
    return COMMA.join(plain)
