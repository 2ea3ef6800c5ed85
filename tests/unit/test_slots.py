"""Slots: taken in bulk, first come, first served, none lost."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from stopline_worker.engine.slots import Slots


def test_as_many_as_there_are() -> None:
    async def run() -> None:
        slots = Slots(5)
        assert await slots.take(3) == 3
        assert await slots.take(3) == 2
        waiting = asyncio.create_task(slots.take(4))
        await asyncio.sleep(0)
        assert not waiting.done()
        slots.give_back(1)
        assert await waiting == 1

    asyncio.run(run())


def test_who_has_some_gets_no_more_while_others_wait() -> None:
    async def run() -> None:
        slots = Slots(5)
        assert await slots.take(2) == 2
        assert slots.top_up(2) == 2
        assert slots.top_up(2) == 1
        waiting = asyncio.create_task(slots.take(1))
        await asyncio.sleep(0)
        slots.give_back(1)
        assert slots.top_up(1) == 0
        assert await waiting == 1

    asyncio.run(run())


def test_first_come_first_served() -> None:
    async def run() -> None:
        slots = Slots(1)
        await slots.take(1)
        first, second = (asyncio.create_task(slots.take(1)) for _ in range(2))
        await asyncio.sleep(0)
        slots.give_back(1)
        await asyncio.sleep(0)
        assert first.done()
        assert not second.done()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    asyncio.run(run())


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=30))
def test_none_is_lost_when_waiters_give_up(takers: list[tuple[int, bool]]) -> None:
    async def run() -> None:
        slots = Slots(10)
        held = await slots.take(10)
        tasks = [asyncio.create_task(slots.take(wanted)) for wanted, _ in takers]
        await asyncio.sleep(0)
        for task, (_, gives_up) in zip(tasks, takers, strict=True):
            if gives_up:
                task.cancel()
        slots.give_back(held)
        for task in tasks:
            for result in await asyncio.gather(task, return_exceptions=True):
                if isinstance(result, int):
                    slots.give_back(result)
        assert slots.free == 10

    asyncio.run(run())
