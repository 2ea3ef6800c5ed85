"""Sinks on a real server: nothing goes before each has it, and nothing is lost to a death."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
import redis

from stopline import AsyncStopClient, Settings, StopClient
from stopline.contract import Outcome, Sinks
from stopline.errors import UnavailableError
from stopline.ledger import keys
from stopline_outcomes.sink import Sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

MOST: Final = 1_000_000


class Shelf:
    """Keeps outcomes in memory; may be told to fail."""

    def __init__(self, name: str = "shelf") -> None:
        self.name = name
        self.kept: Counter[str] = Counter()
        self.fails = 0
        self.hangs = False

    async def keep(self, outcomes: Sequence[Outcome]) -> None:
        if self.fails:
            self.fails -= 1
            raise UnavailableError("the shelf is away")
        self.kept.update(one.request_id for one in outcomes)
        if self.hangs:  # kept, and never acknowledged
            await asyncio.Event().wait()


@pytest.fixture
def ledger(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def _settings(redis_url: str) -> Settings:
    return Settings.load(redis_url=redis_url)


def _end_some(redis_url: str, count: int, batch_id: str = "b") -> None:
    """Outcomes without a worker: what is cancelled has one."""
    with StopClient(_settings(redis_url)) as client:
        requests = [{"user_id": "u", "task_id": f"{batch_id}-{n}"} for n in range(count)]
        client.stop_many(requests, batch_id=batch_id)
        client.cancel_batch(batch_id)


def _view(redis_url: str) -> Sinks:
    with StopClient(_settings(redis_url)) as client:
        return client.sinks.view()


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110  # what is looked at tells nobody
            await asyncio.sleep(0.01)


def _run(redis_url: str, scene: Callable[[AsyncStopClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncStopClient(_settings(redis_url)) as client:
            await scene(client)

    asyncio.run(main())


@asynccontextmanager
async def _running(sink: Sink) -> AsyncIterator[None]:
    """A sink at work; it ends as it should."""
    task = asyncio.create_task(sink.run())
    yield
    sink.end()
    await asyncio.wait_for(task, 30)


async def _open(client: AsyncStopClient, name: str = "shelf", most: int = MOST) -> None:
    await client.sinks.open(name, most)


def test_without_a_sink_nothing_is_written_down(redis_url: str, ledger: redis.Redis) -> None:
    _end_some(redis_url, 3)
    assert not ledger.exists(keys.OUTCOMES)


def test_a_sink_gets_each_outcome_and_acknowledges_it(redis_url: str, ledger: redis.Redis) -> None:
    async def scene(client: AsyncStopClient) -> None:
        shelf = Shelf()
        sink = Sink(client.sinks, shelf, "reader", MOST)
        async with _running(sink):
            await _until(lambda: bool(ledger.exists(keys.SINKS)))
            await asyncio.to_thread(_end_some, redis_url, 1200)
            await _until(lambda: sink.kept == 1200)
        assert set(shelf.kept.values()) == {1}

    _run(redis_url, scene)
    (view,) = _view(redis_url).views
    assert (view.name, view.readers, view.waiting, view.oldest_s) == ("shelf", 0, 0, None)


def test_what_a_reader_that_died_had_goes_to_another(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stopline_outcomes.sink._SILENT_S", 0.1)
    monkeypatch.setattr("stopline_outcomes.sink._LOOK_AFTER_S", 0.05)

    async def scene(client: AsyncStopClient) -> None:
        await _open(client)
        await asyncio.to_thread(_end_some, redis_url, 700)
        doomed = Shelf()
        doomed.hangs = True
        dying = asyncio.create_task(Sink(client.sinks, doomed, "doomed", MOST).run())
        await _until(lambda: doomed.kept.total() == 500)
        dying.cancel()
        heir = Shelf()
        sink = Sink(client.sinks, heir, "heir", MOST)
        async with _running(sink):
            await _until(lambda: heir.kept.total() >= 700)
        assert len(heir.kept) == 700

    _run(redis_url, scene)
    assert _view(redis_url).views[0].waiting == 0


def test_who_fails_gets_the_same_again(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stopline_outcomes.sink._SILENT_S", 0.05)
    monkeypatch.setattr("stopline_outcomes.sink._LOOK_AFTER_S", 0.0)
    monkeypatch.setattr("stopline_outcomes.sink._AGAIN_S", 0.05)

    async def scene(client: AsyncStopClient) -> None:
        await _open(client)
        await asyncio.to_thread(_end_some, redis_url, 10)
        shelf = Shelf()
        shelf.fails = 2
        sink = Sink(client.sinks, shelf, "reader", MOST)
        async with _running(sink):
            await _until(lambda: sink.kept == 10)
        assert not shelf.fails
        assert Counter(shelf.kept.values()) == {1: 10}

    _run(redis_url, scene)


def test_nothing_is_trimmed_before_the_slowest_sink_has_it(
    redis_url: str, ledger: redis.Redis
) -> None:
    async def scene(client: AsyncStopClient) -> None:
        await _open(client, "fast")
        await _open(client, "slow")
        await asyncio.to_thread(_end_some, redis_url, 2000, "first")
        fast = Shelf("fast")
        sink = Sink(client.sinks, fast, "reader", MOST)
        running = asyncio.create_task(sink.run())
        await _until(lambda: sink.kept == 2000)
        await asyncio.to_thread(_end_some, redis_url, 1000, "second")
        assert ledger.xlen(keys.OUTCOMES) == 3000
        slow = Shelf("slow")
        late = Sink(client.sinks, slow, "reader", MOST)
        reading = asyncio.create_task(late.run())
        await _until(lambda: late.kept == 3000 and sink.kept == 3000)
        assert len(slow.kept) == 3000
        await asyncio.to_thread(_end_some, redis_url, 1000, "third")
        await _until(lambda: late.kept == 4000 and sink.kept == 4000)
        await asyncio.to_thread(_end_some, redis_url, 300, "fourth")  # what is had by all goes now
        for one in (sink, late):
            one.end()
        await asyncio.gather(running, reading)

    _run(redis_url, scene)
    assert ledger.xlen(keys.OUTCOMES) < 2500
    assert _view(redis_url).dropped == 0


def test_what_is_given_and_not_acknowledged_stays(redis_url: str) -> None:
    async def scene(client: AsyncStopClient) -> None:
        await _open(client)
        await asyncio.to_thread(_end_some, redis_url, 300, "first")
        found = await client.sinks.read("shelf", "reader", 300)
        await client.sinks.acknowledge("shelf", [one.place for one in found[10:]])
        await asyncio.to_thread(_end_some, redis_url, 1000, "second")
        again = await client.sinks.take_over("shelf", "other", 0.0, 500)
        assert [one.place for one in again] == [one.place for one in found[:10]]

    _run(redis_url, scene)


def test_a_sink_that_is_away_for_too_long_loses_some_and_that_is_counted(
    redis_url: str, ledger: redis.Redis
) -> None:
    async def scene(client: AsyncStopClient) -> None:
        await _open(client, most=500)
        await asyncio.to_thread(_end_some, redis_url, 3000)

    _run(redis_url, scene)
    found = _view(redis_url)
    assert found.dropped > 1000
    assert ledger.xlen(keys.OUTCOMES) + found.dropped == 3000
    told = [text for part, text in found.notices() if part == "outcomes"]
    assert "went before every sink had them" in told[0]


def test_a_sink_that_is_forgotten_keeps_nothing(redis_url: str, ledger: redis.Redis) -> None:
    async def scene(client: AsyncStopClient) -> None:
        await _open(client)
        await _open(client, "other")
        assert await client.sinks.forget("shelf")
        assert not await client.sinks.forget("shelf")
        assert ledger.ttl(keys.OUTCOMES) == -1
        assert await client.sinks.forget("other")

    _run(redis_url, scene)
    assert _view(redis_url) == Sinks()
    _end_some(redis_url, 3)
    assert ledger.xlen(keys.OUTCOMES) == 0


def test_who_is_behind_for_long_is_told_of(redis_url: str, ledger: redis.Redis) -> None:
    async def scene(client: AsyncStopClient) -> None:
        await _open(client)
        moment = int(ledger.time()[0]) - 600
        ledger.xadd(keys.OUTCOMES, {"outcome": "{}"}, id=f"{moment}000-0")

    _run(redis_url, scene)
    ((part, text),) = list(_view(redis_url).notices())
    assert part == "sink shelf"
    assert "1 outcomes wait for it, the first for 60" in text


def test_who_is_stopped_while_it_cannot_keep_leaves_what_it_was_given_to_others(
    redis_url: str,
) -> None:
    async def scene(client: AsyncStopClient) -> None:
        await _open(client)
        await asyncio.to_thread(_end_some, redis_url, 10)
        shelf = Shelf()
        shelf.fails = 1000
        sink = Sink(client.sinks, shelf, "reader", MOST)
        async with _running(sink):
            await _until(lambda: shelf.fails < 1000)
        assert _view(redis_url).views[0].waiting == 10
        left = await client.sinks.take_over("shelf", "heir", 0.0, 100)
        assert len(left) == 10

    _run(redis_url, scene)


def test_a_stream_that_is_gone_takes_no_sink_along(
    redis_url: str, ledger: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody emptied the server, or forgot a sink that runs."""
    monkeypatch.setattr("stopline_outcomes.sink._AGAIN_S", 0.05)

    async def scene(client: AsyncStopClient) -> None:
        shelf = Shelf()
        sink = Sink(client.sinks, shelf, "reader", MOST)
        async with _running(sink):
            for gone in (ledger.flushall, lambda: _forget(redis_url)):
                await _until(lambda: bool(ledger.exists(keys.SINKS)))
                gone()
                wanted = len(shelf.kept) + 5  # not those of before, which it may be given again
                await _until(lambda: bool(ledger.exists(keys.SINKS)))
                await asyncio.to_thread(_end_some, redis_url, 5, f"b{wanted}")
                await _until(lambda: len(shelf.kept) == wanted)  # noqa: B023

    _run(redis_url, scene)


def _forget(redis_url: str) -> None:
    with StopClient(_settings(redis_url)) as client:
        client.sinks.forget("shelf")


def test_a_sink_without_its_group_is_seen_and_gets_what_follows(
    redis_url: str, ledger: redis.Redis
) -> None:
    async def scene(client: AsyncStopClient) -> None:
        await _open(client)
        ledger.delete(keys.OUTCOMES)
        assert [one.name for one in _view(redis_url).views] == ["shelf"]
        ledger.xadd(keys.OUTCOMES, {"outcome": "{}"})
        ledger.expire(keys.OUTCOMES, 1000)
        await asyncio.to_thread(_end_some, redis_url, 1500)
        assert ledger.ttl(keys.OUTCOMES) == -1
        assert ledger.xlen(keys.OUTCOMES) == 1501
        assert len(await client.sinks.read("shelf", "reader", 2000)) == 1501

    _run(redis_url, scene)


def test_an_entry_that_is_no_outcome_is_passed_over(redis_url: str, ledger: redis.Redis) -> None:
    async def scene(client: AsyncStopClient) -> None:
        await _open(client)
        ledger.xadd(keys.OUTCOMES, {"outcome": "{"})
        ledger.xadd(keys.OUTCOMES, {"other": "x"})
        await asyncio.to_thread(_end_some, redis_url, 3)
        shelf = Shelf()
        sink = Sink(client.sinks, shelf, "reader", MOST)
        async with _running(sink):
            await _until(lambda: sink.kept == 5)
        assert shelf.kept.total() == 3

    _run(redis_url, scene)
