"""Work of many triggers at about the same time, done in one turn of a thread.

A thousand triggers that begin, or end, together would hand a thousand small pieces of
work from the event loop to a thread and back: these hand-overs cost more than the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from asgiref.sync import sync_to_async

T = TypeVar("T")

#: How long others may join before the work begins (seconds).
_GATHER = 0.05


class ThreadBatch(Generic[T]):
    """Hands what the triggers of an event loop bring to one call in Airflow's thread.

    Args:
        work: Called with all of it, in a thread; an error is that of each who waits.
    """

    def __init__(self, work: Callable[[list[T]], object]) -> None:
        self._work = work
        self._items: list[T] = []
        self._turn: asyncio.Future[None] | None = None

    async def run(self, item: T) -> None:
        """Return once the work on this item is done.

        Shielded: a trigger that is cancelled takes its own item from nobody, and keeps
        the message of its cancellation, by which Airflow 3.3 tells a person's from a
        restart's (asgiref 3.13 loses it).
        """

        async def take_turn() -> None:
            await asyncio.sleep(_GATHER)
            items, self._items, self._turn = self._items, [], None
            await sync_to_async(self._work)(items)

        turn, loop = self._turn, asyncio.get_running_loop()
        if turn is None or turn.done() or turn.get_loop() is not loop:
            self._items = []
            turn = self._turn = asyncio.ensure_future(take_turn())
        self._items.append(item)
        await asyncio.shield(turn)
