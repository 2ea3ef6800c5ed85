"""The asyncio client does what the other one does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from stopline import (
    AsyncStopClient,
    CancelResult,
    OutcomeKind,
    OutcomeTimeoutError,
    Settings,
    UnavailableError,
    UnknownRequestError,
)

if TYPE_CHECKING:
    from tests.support.processes import Stack


def _settings(stack: Stack) -> Settings:
    return Settings.load(redis_url=stack.redis_url)


def test_a_stop_is_followed_to_its_outcome(stack: Stack) -> None:
    stack.api.start([{"task_id": "bad", "replies": [{"http_status": 400}]}])
    stack.worker()

    async def run() -> None:
        async with AsyncStopClient(_settings(stack)) as client:
            receipts = await asyncio.gather(*(client.stop("u", str(n)) for n in range(20)))
            outcomes = await asyncio.gather(*(client.wait(one.request_id, 60) for one in receipts))
            assert {one.outcome for one in outcomes} == {OutcomeKind.STOPPED}
            submitted = await client.stop_many([{"user_id": "u", "task_id": "bad"}])
            (receipt,) = submitted.receipts
            assert (await client.wait(receipt.request_id, 60)).outcome is OutcomeKind.REJECTED
            letters = [letter async for letter in client.dead_letters()]
            redriven = await client.redrive(letters)
            again = redriven[receipt.request_id]
            assert (await client.wait(again.request_id, 60)).outcome is OutcomeKind.STOPPED

    asyncio.run(run())


def test_a_time_that_is_over_is_said_to_be_over(stack: Stack) -> None:
    async def run() -> None:
        async with AsyncStopClient(_settings(stack)) as client:
            receipt = await client.stop("u", "t")
            with pytest.raises(OutcomeTimeoutError, match=r"no outcome after 0\.2 s"):
                await client.wait(receipt.request_id, 0.2)
            assert await client.cancel(receipt.request_id) is CancelResult.CANCELLED
            assert (await client.wait(receipt.request_id, 60)).outcome is OutcomeKind.CANCELLED

    asyncio.run(run())


def test_a_redis_that_is_away_is_said_to_be_away() -> None:
    async def run() -> None:
        async with AsyncStopClient(Settings.load(redis_url="redis://127.0.0.1:1/0")) as client:
            with pytest.raises(UnavailableError):
                await client.stop("u", "t")
            with pytest.raises(UnavailableError):
                await client.wait("r", 60)

    asyncio.run(run())


def test_what_the_ledger_never_knew_is_said_at_once(stack: Stack) -> None:
    async def run() -> None:
        async with AsyncStopClient(Settings.load(redis_url=stack.redis_url)) as client:
            with pytest.raises(UnknownRequestError):
                await client.wait("nobody")
            receipt = await client.stop("u", "t")
            with pytest.raises(OutcomeTimeoutError):
                await client.wait(receipt.request_id, 0.1)
            assert await client.dead_count() == 0

    asyncio.run(run())
