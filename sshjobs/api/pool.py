"""Contexts for the calls of the Python API, one for each call that is under way.

Theory of operation: a context and its store are for one call at a time, and to open
them costs some milliseconds. So whoever calls takes a free one, or makes one, and puts
it back afterwards. To take and to put back is one operation on a list, which no other
thread can cut in two. A call inside another call of the same thread (a batch whose
items come from :func:`sshjobs.as_completed`, say) finds the outer one's taken, and has
one of its own. A context of before a fork is the parent's, and is left alone: SQLite
connections do not span a fork (sqlite.org/howtocorrupt.html, 2.6).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary, finalize

from ..verbs.context import Context

#: So many free contexts are kept; more than that were needed by a crowd of threads.
_KEPT = 4


class ContextPool:
    """Contexts with the same environment, config file and settings.

    Args:
        first: One of them; the others are made like it.
    """

    def __init__(self, first: Context) -> None:
        self._first = (first.environ, first.config, first.flags)
        self.home = first.home
        self._free: list[tuple[int, Context]] = []
        self._let_go = finalize(self, _close_all, self._free)

    def __repr__(self) -> str:
        return f"<ContextPool {self.home}>"

    @property
    def flags(self) -> Mapping[str, Any]:
        """The settings that the call gave."""
        return self._first[2]

    @contextmanager
    def borrow(self) -> Iterator[Context]:
        """Yield a context that nobody else has."""
        ctx = self._take_free() or Context(*self._first)
        try:
            yield ctx
        finally:
            if len(self._free) < _KEPT:
                self._free.append((os.getpid(), ctx))
            else:
                ctx.close()

    def _take_free(self) -> Context | None:
        while True:
            try:
                pid, ctx = self._free.pop()
            except IndexError:
                return None
            if pid == os.getpid():
                return ctx
            _OF_PARENT.append(ctx)

    def close(self) -> None:
        """Close the contexts that are free; the next call makes one anew."""
        _close_all(self._free)


#: Contexts that a fork has brought along, which their own process closes.
_OF_PARENT: list[Context] = []


def _close_all(free: list[tuple[int, Context]]) -> None:
    while free:
        pid, ctx = free.pop()
        if pid == os.getpid():
            ctx.close()
        else:
            _OF_PARENT.append(ctx)


_POOLS: WeakValueDictionary[object, ContextPool] = WeakValueDictionary()


def find_pool(flags: Mapping[str, Any]) -> ContextPool:
    """Return the pool for the environment and the config file as they are now.

    Raises:
        SpecError: a setting is wrong.
    """
    first = Context(flags=flags)
    key = (
        frozenset(first.environ.items()),
        repr(first.config),
        repr(sorted(first.flags.items())),
    )
    pool = _POOLS.get(key)
    if pool is None:
        pool = _POOLS[key] = ContextPool(first)
    return pool
