"""Those who wait for outcomes through one client share one subscription, and miss nothing."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis

from stopline import (
    AsyncStopClient,
    Outcome,
    OutcomeKind,
    Settings,
    StopClient,
    UnavailableError,
)
from tests.conftest import wait_until
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MANY = 40


@pytest.fixture
def client(redis_url: str) -> Iterator[StopClient]:
    with StopClient(Settings.load(redis_url=redis_url)) as client:
        yield client


def _subscriptions(redis_url: str) -> list[int]:
    """How many channels each connection listens to that listens to any."""
    with redis.Redis.from_url(redis_url) as looking:
        found: Any = looking.client_list()
    return [int(one["sub"]) for one in found if int(one["sub"])]


def _submitted(client: StopClient) -> list[str]:
    requests = [{"user_id": "u", "task_id": str(number)} for number in range(_MANY)]
    return [one.request_id for one in client.stop_many(requests, batch_id="b").receipts]


def test_threads_share_a_subscription(client: StopClient, redis_url: str) -> None:
    ids = _submitted(client)
    with ThreadPoolExecutor(_MANY) as pool:
        waiting = [pool.submit(client.wait, one, 60) for one in ids]
        wait_until(lambda: _subscriptions(redis_url) == [_MANY], what="the subscription")
        client.cancel_batch("b")
        outcomes = [one.result() for one in waiting]
    assert [one.request_id for one in outcomes] == ids
    wait_until(lambda: not _subscriptions(redis_url), what="the end of the subscription")


def test_tasks_share_a_subscription(client: StopClient, redis_url: str) -> None:
    ids = _submitted(client)

    async def run() -> list[Outcome]:
        async with AsyncStopClient(Settings.load(redis_url=redis_url)) as waiting:
            tasks = [asyncio.create_task(waiting.wait(one, 60)) for one in ids]
            await asyncio.to_thread(wait_until, lambda: _subscriptions(redis_url) == [_MANY])
            await asyncio.to_thread(client.cancel_batch, "b")
            return await asyncio.gather(*tasks)

    assert [one.request_id for one in asyncio.run(run())] == ids


def test_several_may_wait_for_one_request(client: StopClient, redis_url: str) -> None:
    request_id = client.stop("u", "t").request_id
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.wait, request_id, 60) for _ in range(3)]
        wait_until(lambda: _subscriptions(redis_url) == [1], what="the subscription")
        client.cancel(request_id)
        assert {one.result().outcome for one in waiting} == {OutcomeKind.CANCELLED}


def _cut(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as cutting:
        cutting.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def test_a_subscription_that_is_cut_misses_nothing(client: StopClient, redis_url: str) -> None:
    request_id = client.stop("u", "t").request_id
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait, request_id, 60)
        wait_until(lambda: _subscriptions(redis_url), what="the subscription")
        _cut(redis_url)
        client.cancel(request_id)
        assert waiting.result().outcome is OutcomeKind.CANCELLED


def test_a_subscription_of_asyncio_that_is_cut_misses_nothing(
    client: StopClient, redis_url: str
) -> None:
    request_id = client.stop("u", "t").request_id

    async def run() -> Outcome:
        async with AsyncStopClient(Settings.load(redis_url=redis_url)) as waiting:
            task = asyncio.create_task(waiting.wait(request_id, 60))
            await asyncio.to_thread(wait_until, lambda: _subscriptions(redis_url))
            await asyncio.to_thread(_cut, redis_url)
            await asyncio.to_thread(client.cancel, request_id)
            return await task

    assert asyncio.run(run()).outcome is OutcomeKind.CANCELLED


def test_who_waits_is_told_that_redis_is_gone_and_may_wait_again(tmp_path: Path) -> None:
    server = Valkey(tmp_path, appendonly="yes", appendfsync="always")
    server.start()
    client = StopClient(Settings.load(redis_url=server.url))
    try:
        request_id = client.stop("u", "t").request_id
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.wait, request_id, 60)
            wait_until(lambda: _subscriptions(server.url), what="the subscription")
            server.kill()
            with pytest.raises(UnavailableError):
                waiting.result()
        server.start()
        client.cancel(request_id)
        assert client.wait(request_id, 60).outcome is OutcomeKind.CANCELLED
    finally:
        client.close()
        server.kill()


def test_closing_ends_the_listener_and_tells_who_waits(client: StopClient, redis_url: str) -> None:
    request_id = client.stop("u", "t").request_id
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait, request_id, 60)
        wait_until(lambda: _subscriptions(redis_url), what="the subscription")
        client.close()
        with pytest.raises(UnavailableError, match="closed"):
            waiting.result()
    assert not [one for one in threading.enumerate() if one.name == "stopline-listener"]
