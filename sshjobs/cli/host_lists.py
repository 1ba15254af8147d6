"""The hosts of a call that names several: with commas between them, or in a file."""

from __future__ import annotations

import sys

from ..errors import SpecError
from ..host_names import check_host
from ..startup.contexts import nullcontext
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Values = Mapping[str, Any]

#: No line of a file of hosts is longer, and there are no more hosts than that.
_LONGEST = 4096
_MOST = 100_000


def read_hosts(values: Values) -> list[str]:
    """Return the hosts of a call, each once, in the order in which they are named.

    Raises:
        SpecError: there is none, one is no host, or a file cannot be read.
    """
    if "-" in (values.get("hosts") or ()) and (
        values.get("stdin") == "-" or not values.get("command")
    ):
        raise SpecError("standard input cannot be both the hosts and what they get")
    hosts: dict[str, None] = {}
    for where, host in _yield_hosts(values):
        try:
            check_host(host)
        except SpecError as error:
            raise SpecError(f"{where}{error}") from error
        hosts[host] = None
        if len(hosts) > _MOST:
            raise SpecError(f"{where}more than {_MOST:,} hosts")
    if not hosts:
        raise SpecError("no host is named: the files of --hosts have none")
    return list(hosts)


def _yield_hosts(values: Values) -> Iterator[tuple[str, str]]:
    """Yield the words of a call that are to be hosts, each behind its place."""
    if values["host"]:
        for host in values["host"].split(","):
            yield "", host
    for path in values.get("hosts") or ():
        for number, host in _yield_lines(path):
            yield f"{path}, line {number}: ", host


def _yield_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that hold a host, with their numbers."""
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            number = 0
            while line := file.readline(_LONGEST):
                number += 1
                if len(line) == _LONGEST:
                    raise SpecError(f"{path}, line {number}: too long for a host")
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")  # of some editors
                host = line.partition(b"#")[0].strip()
                if host:
                    yield number, host.decode("utf-8", "surrogateescape")
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from error
