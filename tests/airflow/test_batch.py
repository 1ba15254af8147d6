"""Small work of many triggers is one piece of work for a thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("airflow")

from sshjobs.airflow.batch import ThreadBatch  # noqa: E402


def test_what_comes_together_is_done_together() -> None:
    seen: list[tuple[list[int], int]] = []
    batch = ThreadBatch[int](lambda some: seen.append((some, threading.get_ident())))

    async def bring_all() -> None:
        await asyncio.gather(*(batch.run(number) for number in range(1000)))
        await batch.run(1000)

    asyncio.run(bring_all())
    assert [some for some, _ in seen] == [list(range(1000)), [1000]]
    assert threading.get_ident() not in {thread for _, thread in seen}


def test_an_error_is_that_of_all_and_of_no_later_one() -> None:
    done: list[str] = []

    def refuse(some: list[str]) -> None:
        done.extend(some)
        if "bad" in some:
            raise ValueError("bad")

    batch = ThreadBatch(refuse)

    async def bring_all() -> tuple[BaseException | None, ...]:
        both = batch.run("bad"), batch.run("beside")
        ended = await asyncio.gather(*both, return_exceptions=True)
        await batch.run("later")
        return ended

    assert [repr(end) for end in asyncio.run(bring_all())] == ["ValueError('bad')"] * 2
    assert done == ["bad", "beside", "later"]


def test_a_trigger_that_is_cancelled_keeps_the_message_and_takes_nothing_away() -> None:
    done: list[str] = []
    batch = ThreadBatch(done.extend)

    async def cancel_one() -> tuple[object, ...]:
        one, other = (asyncio.create_task(batch.run(name)) for name in ("one", "other"))
        await asyncio.sleep(0)
        one.cancel("user")
        await other
        with pytest.raises(asyncio.CancelledError) as said:
            await one
        return said.value.args

    assert asyncio.run(cancel_one()) == ("user",)
    assert done == ["one", "other"]


def test_a_loop_that_ended_leaves_nothing_to_the_next_one() -> None:
    done: list[str] = []
    batch = ThreadBatch(done.extend)

    async def leave() -> None:
        asyncio.create_task(batch.run("left"))
        await asyncio.sleep(0)

    asyncio.run(leave())
    asyncio.run(batch.run("next"))
    assert done == ["next"]
