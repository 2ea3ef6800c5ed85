"""One look for all who ask at a time."""

from __future__ import annotations

import asyncio

import pytest

from stopline_gateway.shared import Shared


class _Looks:
    """Looks that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[asyncio.Future[int]] = []

    async def look(self) -> int:
        self.begun.append(asyncio.get_running_loop().create_future())
        return await self.begun[-1]


async def _ask(shared: Shared[int], number: int) -> list[asyncio.Task[int]]:
    asking = [asyncio.create_task(shared.get()) for _ in range(number)]
    for _ in range(5):
        await asyncio.sleep(0)
    return asking


def test_all_who_ask_get_what_one_look_finds() -> None:
    async def run() -> None:
        looks = _Looks()
        shared = Shared(looks.look, 3_600)
        asking = await _ask(shared, 20)
        asking[0].cancel()  # who began it goes away
        (look,) = looks.begun
        look.set_result(7)
        assert await asyncio.gather(*asking[1:]) == [7] * 19
        assert await shared.get() == 7, "it holds"
        assert len(looks.begun) == 1

    asyncio.run(run())


def test_what_is_not_worth_it_is_not_held() -> None:
    async def run() -> None:
        looks = _Looks()
        shared = Shared(looks.look, 3_600, may_hold=lambda found: found > 0)
        for found in (0, 1, 1):
            (asking,) = await _ask(shared, 1)
            if not looks.begun[-1].done():
                looks.begun[-1].set_result(found)
            assert await asking == found
        assert len(looks.begun) == 2

    asyncio.run(run())


def test_what_fails_is_told_to_all_and_looked_up_anew() -> None:
    async def run() -> None:
        looks = _Looks()
        shared = Shared(looks.look, 3_600)
        asking = await _ask(shared, 2)
        looks.begun[0].set_exception(OSError("away"))
        for one in asking:
            with pytest.raises(OSError, match="away"):
                await one
        (again,) = await _ask(shared, 1)
        looks.begun[1].set_result(7)
        assert await again == 7

    asyncio.run(run())
