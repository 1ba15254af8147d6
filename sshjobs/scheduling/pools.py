"""The hosts of a pool: which of them a job goes to.

Pure: all that is decided on is handed in.
"""

from __future__ import annotations

import heapq

from ..errors import SpecError
from ..model import POOL
from ..startup.records import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

#: A host that fails is tried again after so many seconds at the earliest, and one that
#: goes on failing after so many at the latest.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 10.0, 600.0


class Room(Record):
    """The facts of the record about the room on one host of a pool.

    ``limit`` is the number of jobs that may run there at once, 0 if there is none;
    ``active`` counts the jobs that run there or wait, of any pool.
    """

    host: str
    active: int
    limit: int = 0


def read_pool(config: Mapping[str, Any], target: str) -> list[str]:
    """Return the hosts of ``pool:NAME``, in the order of the config file.

    Raises:
        SpecError: there is no such pool; the message has those that there are.
    """
    pools = config.get("pools", {})
    name = target.removeprefix(POOL)
    if name not in pools:
        known = ", ".join(POOL + each for each in sorted(pools)) or "none"
        raise SpecError(
            f"no such pool: {target!r}; the config file has {known}. A pool is a "
            f'table there: [pools.NAME] with hosts = ["HOST", "HOST"]'
        )
    return list(pools[name]["hosts"])


def expand_pools(config: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return hosts, and in the place of each pool its hosts, each once.

    Raises:
        SpecError: see :func:`read_pool`.
    """
    every: dict[str, None] = {}
    for name in names:
        every |= dict.fromkeys(read_pool(config, name) if is_pool(name) else [name])
    return list(every)


def list_pools_of(config: Mapping[str, Any], host: str) -> list[str]:
    """Return the names of the pools that have a host."""
    pools = config.get("pools", {})
    return [name for name in pools if host in pools[name]["hosts"]]


def is_pool(target: str) -> bool:
    """Tell whether a HOST means a pool."""
    return target.startswith(POOL)


def find_retry(failing_since: float, failed_at: float, cooldown_end: float) -> float:
    """Return from when on a host that failed is given jobs again.

    It is left alone for as long as it has failed already: a try costs its caller
    the wait for a host that is down, and all others are there to be used.

    Args:
        failing_since: When the first try after its last whole round failed, or 0.
        failed_at: When the last one did.
        cooldown_end: Until when nobody may make a handshake, or 0.
    """
    if not failing_since or failed_at < failing_since:
        return cooldown_end
    pause = min(max(failed_at - failing_since, _SHORTEST_PAUSE), _LONGEST_PAUSE)
    return max(cooldown_end, failed_at + pause)


def deal_jobs(rooms: Sequence[Room], count: int) -> Iterator[str]:
    """Yield for each of so many jobs the host with the most free room for it.

    That is the one whose jobs are the smallest part of its limit. A host without a
    limit counts as one with the largest limit of the pool; if none has one, the host
    with the fewest jobs is taken. Of equal ones it is the first.
    """
    most = max((room.limit for room in rooms), default=0) or 1
    heap = []
    for place, room in enumerate(rooms):
        limit = room.limit or most
        heap.append(((room.active + 1) / limit, place, room.active, limit, room.host))
    heapq.heapify(heap)
    for _ in range(count):
        _, place, active, limit, host = heap[0]
        yield host
        heapq.heapreplace(heap, ((active + 2) / limit, place, active + 1, limit, host))
