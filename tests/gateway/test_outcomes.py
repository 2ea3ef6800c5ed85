"""`/v1/outcomes` and those who wait: what comes, comes once and in order, and ends in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from stopline.errors import UnavailableError
from stopline.ledger.limits import Limits
from stopline.testing import World
from stopline_gateway import feed as feeds
from stopline_gateway.feed import Gap, Step
from tests.support.gateway import Desk, KeyRing, assert_problem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    import httpx


@pytest.fixture
def keeping() -> Iterator[Desk]:
    """A gateway whose ledger keeps the last hundred outcomes."""
    with Desk(World(Limits(outcomes_max=100))) as desk:
        yield desk


def _stop(desk: Desk, *names: str) -> None:
    for name in names:
        assert desk.stop(task_id=name).status_code == 202
    desk.world.work()


async def _until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0)


async def _next(stream: AsyncGenerator[Step], count: int) -> list[Any]:
    found: list[Step] = []
    while len(found) < count:
        step = await anext(stream)
        if step.found is not None:
            found.append(step)
    return found


def _tasks(found: list[Any]) -> list[str]:
    return [step.found.task_id for step in found]


def test_without_the_setting_it_says_so(desk: Desk) -> None:
    assert_problem(desk.call("GET", "/v1/outcomes"), 409, "outcomes-off")


def test_a_wrong_place_is_refused(keeping: Desk) -> None:
    for place in ("x", "1-2-3", "-1", "9" * 30):
        reply = keeping.call("GET", "/v1/outcomes", headers={"Last-Event-ID": place})
        assert_problem(reply, 422, "invalid-request", "Last-Event-ID")


def test_from_a_place_on_each_comes_once_and_in_order(keeping: Desk) -> None:
    _stop(keeping, "1", "2", "3")

    async def read() -> None:
        stream = keeping.services.feed.follow("0-0")
        found = await _next(stream, 3)
        assert _tasks(found) == ["1", "2", "3"]
        later = asyncio.create_task(_next(stream, 2))
        await keeping.acall("POST", "/v1/stops", json={"user_id": "u", "task_id": "4"})
        await keeping.acall("POST", "/v1/stops", json={"user_id": "u", "task_id": "5"})
        keeping.world.work()
        assert _tasks(await later) == ["4", "5"]
        await stream.aclose()
        again = keeping.services.feed.follow(found[1].place)
        assert _tasks(await _next(again, 3)) == ["3", "4", "5"]
        await again.aclose()
        await keeping.services.feed.close()

    keeping.run(read())


def test_what_is_no_longer_kept_is_a_gap() -> None:
    with Desk(World(Limits(outcomes_max=5))) as desk:
        _stop(desk, "first")

        async def place_of_first() -> str:
            stream = desk.services.feed.follow("0-0")
            found = await _next(stream, 1)
            await stream.aclose()
            return str(found[0].place)

        place = desk.run(place_of_first())
        desk.world.ledger.client.xtrim("{stopline}:outcomes", 0, approximate=False)
        _stop(desk, "later")

        async def read() -> list[Any]:
            stream = desk.services.feed.follow(place)
            found = await _next(stream, 2)
            await stream.aclose()
            await desk.services.feed.close()
            return found

        gap, later = desk.run(read())
    assert isinstance(gap.found, Gap)
    assert later.found.task_id == "later"


def test_a_slow_stream_catches_up(keeping: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_AHEAD_MAX", 2)
    monkeypatch.setattr(feeds, "_PAGE", 3)

    async def read() -> None:
        stream = keeping.services.feed.follow("0-0")
        reading = asyncio.create_task(_next(stream, 1))
        names = [str(number) for number in range(10)]
        for name in names:
            await keeping.acall("POST", "/v1/stops", json={"user_id": "u", "task_id": name})
        keeping.world.work()
        first = await reading
        assert _tasks(first + await _next(stream, 9)) == names
        await stream.aclose()
        await keeping.services.feed.close()

    keeping.run(read())


def test_the_stream_as_it_is_sent(keeping: Desk) -> None:
    _stop(keeping, "1")

    async def read() -> str:
        calling = asyncio.create_task(
            keeping.acall(
                "GET", "/v1/outcomes?user_id=u&outcome=stopped", headers={"Last-Event-ID": "0-0"}
            )
        )
        await _until(lambda: keeping.services.waiting._streams == 1)
        await keeping.acall("POST", "/v1/stops", json={"user_id": "other", "task_id": "2"})
        await keeping.acall("POST", "/v1/stops", json={"user_id": "u", "task_id": "3"})
        keeping.world.work()
        await _until_given(keeping, 3)
        keeping.services.waiting.close()
        reply = await calling
        await keeping.services.feed.close()
        assert reply.headers["content-type"].startswith("text/event-stream")
        return reply.text

    text = keeping.run(read())
    events = [one for one in text.split("\n\n") if one.startswith("event: outcome")]
    assert len(events) == 2
    assert '"task_id":"1"' in events[0]
    assert '"task_id":"3"' in events[1]
    assert all("\nid: " in one for one in events)
    assert "id: 0-0\n" in text.split("\n\n")[0], "who was given nothing yet knows where to go on"
    assert "retry: 1000" in text
    assert ": this process ends: connect again" in text


async def _until_given(desk: Desk, count: int) -> None:
    """Until the one stream has been given so many."""
    seen = 0
    follower = next(iter(desk.services.feed._followers))
    while seen < count or follower._ahead:
        page = await desk.services.client.outcomes("0-0")
        seen = len(page.outcomes)
        await asyncio.sleep(0.01)


def test_a_reader_that_fails_leaves_no_stream_silent(
    keeping: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "_AGAIN_S", 0.01)
    client, real, broken = keeping.services.client, keeping.services.client.outcomes, [True]

    async def outcomes(*arguments: Any, **named: Any) -> Any:
        if named.get("block_s") is not None and broken:
            broken.pop()
            raise ValueError("an outcome of a newer version")
        return await real(*arguments, **named)

    monkeypatch.setattr(client, "outcomes", outcomes)

    async def read() -> None:
        stream = keeping.services.feed.follow(None)
        reading = asyncio.create_task(_next(stream, 2))
        for name in ("1", "2"):
            await keeping.acall("POST", "/v1/stops", json={"user_id": "u", "task_id": name})
            keeping.world.work()
        assert _tasks(await reading) == ["1", "2"]
        await stream.aclose()
        await keeping.services.feed.close()

    keeping.run(read())


def test_who_waits_and_cannot_is_told_that_it_is_accepted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise UnavailableError("gone meanwhile")

    monkeypatch.setattr(desk.services.client, "wait", away)
    reply = desk.call("POST", "/v1/stops?wait_s=5", json={"user_id": "u", "task_id": "t"})
    assert (reply.status_code, reply.json()["receipt"]) == (202, "accepted")


def test_too_many_streams_are_refused() -> None:
    with Desk(World(Limits(outcomes_max=5)), streams_max=1) as desk:

        async def second() -> httpx.Response:
            with desk.services.waiting.stream():
                return await desk.acall("GET", "/v1/outcomes")

        assert_problem(desk.run(second()), 503, "busy")


def test_too_many_waiters_are_refused() -> None:
    with Desk(waiters_max=1) as desk:
        desk.services.waiting._waiters = 1
        reply = desk.call("POST", "/v1/stops?wait_s=5", json={"user_id": "u", "task_id": "t"})
        assert_problem(reply, 503, "busy")
        assert desk.world.work() == 0, "nothing was accepted"


def test_who_waits_when_the_process_ends_is_told_to_come_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def for_ever(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(desk.services.client, "wait", for_ever)

    async def wait() -> Any:
        body = {"user_id": "u", "task_id": "t"}
        calling = asyncio.create_task(desk.acall("POST", "/v1/stops?wait_s=60", json=body))
        await _until(lambda: desk.services.waiting._ends)
        desk.services.waiting.close()
        return await calling

    reply = desk.run(wait())
    assert (reply.status_code, reply.json()["state"]) == (202, "queued")
    assert reply.headers["retry-after"] == "1"
    assert desk.call("GET", "/readyz").status_code == 503


def test_a_stream_ends_with_its_key(keys: KeyRing) -> None:
    key = keys.add("crm")
    with Desk(World(Limits(outcomes_max=100)), keys_file=keys.path) as desk:

        async def read() -> str:
            access = desk.services.access
            calling = asyncio.create_task(desk.acall("GET", "/v1/outcomes", key=key))
            await _until(lambda: desk.services.waiting._streams == 1)
            other = keys.add("other")
            keys.revoke(key)
            watching = asyncio.create_task(access.watch())
            await _until(lambda: access._keys is not None and not access._keys.has(_id(key)))
            watching.cancel()
            await desk.acall("POST", "/v1/stops", key=other, json={"user_id": "u", "task_id": "1"})
            desk.world.work()
            return (await calling).text

        text = desk.run(read())
        assert ": This key was revoked meanwhile." in text
        assert "event: outcome" not in text
        desk.run(desk.services.feed.close())


def _id(key: str) -> str:
    return key.split("_")[1]
