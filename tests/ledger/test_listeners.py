"""Those who wait for outcomes through one client share one subscription, and miss nothing."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import redis

from stopline import (
    AsyncStopClient,
    Outcome,
    OutcomeKind,
    OutcomeTimeoutError,
    Settings,
    StopClient,
    UnavailableError,
)
from stopline.client.async_listener import AsyncListener
from stopline.ledger import queries
from tests.conftest import wait_until
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MANY = 40
_CROWD = 300
"""More than redis-py has connections for by default."""


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


def test_a_crowd_is_not_told_that_redis_is_away(redis_url: str) -> None:
    """redis-py refuses the 101st connection, in the words of an outage."""

    async def run() -> list[str]:
        async with AsyncStopClient(Settings.load(redis_url=redis_url)) as client:
            stops = [client.stop("u", str(number)) for number in range(_CROWD)]
            ids = [receipt.request_id for receipt in await asyncio.gather(*stops)]
            await asyncio.gather(*(client.status(one) for one in ids))
            over = await asyncio.gather(
                *(client.wait(one, 0) for one in ids), return_exceptions=True
            )
            assert {type(one) for one in over} == {OutcomeTimeoutError}
            return ids

    assert len(set(asyncio.run(run()))) == _CROWD


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


def test_what_is_no_outcome_spoils_nobody_elses_wait(client: StopClient, redis_url: str) -> None:
    ids = [client.stop("u", str(number)).request_id for number in range(3)]
    with ThreadPoolExecutor(3) as pool, redis.Redis.from_url(redis_url) as other:
        waiting = [pool.submit(client.wait, one, 60) for one in ids]
        wait_until(lambda: _subscriptions(redis_url) == [3], what="the subscription")
        other.publish(f"celery-task-meta-{ids[0]}", b"no JSON")
        other.set(f"celery-task-meta-{ids[0]}", b"no JSON")
        client.cancel(ids[1])
        client.cancel(ids[2])
        assert waiting[1].result().outcome is OutcomeKind.CANCELLED
        assert waiting[2].result().outcome is OutcomeKind.CANCELLED
        with pytest.raises(ValueError, match="line 1"):
            waiting[0].result()


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_subscriptions_that_are_cut_again_and_again_cost_time_and_nothing_else(
    client: StopClient, redis_url: str, kind: str
) -> None:
    ids = _submitted(client)

    async def wait_for_all() -> list[Outcome]:
        async with AsyncStopClient(Settings.load(redis_url=redis_url)) as waiting:
            return await asyncio.gather(*(waiting.wait(one, 60) for one in ids))

    with ThreadPoolExecutor(_MANY + 1) as pool:
        if kind == "asyncio":
            all_of_them = pool.submit(asyncio.run, wait_for_all())
        else:
            each = [pool.submit(client.wait, one, 60) for one in ids]
        for one in ids[::4]:
            wait_until(lambda: _subscriptions(redis_url), what="a subscription")
            _cut(redis_url)
            client.cancel(one)
        client.cancel_batch("b")
        outcomes = (
            all_of_them.result() if kind == "asyncio" else [future.result() for future in each]
        )
    assert [one.request_id for one in outcomes] == ids
    assert client.batch("b").pending == 0  # the ledger's connections were not touched


def test_who_gives_up_while_it_is_subscribed_to_keeps_no_other_from_it(
    client: StopClient, redis_url: str
) -> None:
    request_id = client.stop("u", "t").request_id

    async def run() -> Outcome:
        async with AsyncStopClient(Settings.load(redis_url=redis_url)) as waiting:
            impatient = [asyncio.create_task(waiting.wait(request_id, 60)) for _ in range(5)]
            patient = asyncio.create_task(waiting.wait(request_id, 60))
            for number, task in enumerate(impatient):
                for _ in range(number):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*impatient, return_exceptions=True)
            await asyncio.to_thread(client.cancel, request_id)
            return await patient

    assert asyncio.run(run()).outcome is OutcomeKind.CANCELLED


def test_a_client_that_is_closed_at_once_leaves_nobody_waiting(
    client: StopClient, redis_url: str
) -> None:
    request_id = client.stop("u", "t").request_id

    async def run() -> list[object]:
        waiting = AsyncStopClient(Settings.load(redis_url=redis_url))
        await waiting.status(request_id)
        tasks = [asyncio.create_task(waiting.wait(request_id, 60)) for _ in range(3)]
        wire = await waiting._wire()
        while not wire.listener._waiters:  # type: ignore[attr-defined]  # noqa: ASYNC110  # the moment in question
            await asyncio.sleep(0)
        await waiting.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(one, UnavailableError) for one in asyncio.run(run()))


def test_without_a_thread_nobody_waits_in_vain(
    client: StopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = client.stop("u", "t").request_id

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", refuse)
        with pytest.raises(UnavailableError, match="no thread"):
            client.wait(request_id, 60)
    client.cancel(request_id)
    assert client.wait(request_id, 60).outcome is OutcomeKind.CANCELLED


class _DeafConnection:
    """A connection whose read hears of no cancellation, as redis-py's may not; only of its end."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return not self._ended.is_set()

    async def connect(self) -> None:
        pass

    async def send_command(self, *_: str, check_health: bool) -> None:
        pass

    async def read_response(self, **_: object) -> None:
        while self.is_open:
            with suppress(asyncio.CancelledError):
                await self._ended.wait()

    async def disconnect(self, **_: object) -> None:
        self._ended.set()


def _listener(connection: _DeafConnection, run: Callable[[object], Any]) -> AsyncListener:
    """One to a ledger whose commands do what a test says."""
    pool = SimpleNamespace(make_connection=lambda: connection)
    ledger: Any = SimpleNamespace(client=SimpleNamespace(connection_pool=pool), run=run)
    return AsyncListener(ledger)


def test_a_connection_is_closed_whatever_its_reader_hears() -> None:
    """It once stayed open where the reader's cancellation was lost, and the client was closed."""

    async def nothing(_command: object) -> list[queries.Progress]:
        return [queries.Progress.OPEN]

    async def run() -> None:
        connection = _DeafConnection()
        listener = _listener(connection, nothing)
        assert await listener.listen("r", 0.05) is queries.Progress.OPEN
        await listener.close()
        assert not connection.is_open

    asyncio.run(run())


@pytest.mark.parametrize("way", ["wait", "listen"])
def test_who_closes_a_listener_finds_nothing_of_it_under_way(way: str) -> None:
    """A command that outlives it opens a connection again in a pool that is closed already."""

    async def run() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def hang(_command: object) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        listener = _listener(_DeafConnection(), hang)
        waiting = asyncio.create_task(getattr(listener, way)("r", 60))
        await begun.wait()
        await listener.close()
        assert ended.is_set()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(run())
