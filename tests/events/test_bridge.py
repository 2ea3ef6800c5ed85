"""The bridge on a source in memory: every message ends in the ledger, whatever fails between."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from stopline.contract import DeadMessage, ProcessRole
from stopline.errors import InvalidRequestError, InvalidSettingsError
from stopline.testing import AsyncFakeStopClient, FakeStopClient, World
from stopline_events.bridge import Bridge
from stopline_events.decisions import RESUMED, STOP
from stopline_events.reading import key_of
from stopline_events.sources.port import Message, SourceError, arrival

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemorySource:
    """A list of messages; what is not acknowledged comes again when it is opened."""

    name = identity = "memory"

    def __init__(self, *bodies: Any) -> None:
        self.all = [
            Message(str(number), body if isinstance(body, bytes) else orjson.dumps(body))
            for number, body in enumerate(bodies, 1)
        ]
        self.acknowledged: list[str] = []
        self.broken: deque[str] = deque()
        """What fails next, once each."""
        self._left = deque(self.all)

    def _break(self, what: str) -> None:
        if self.broken and self.broken[0] == what:
            self.broken.popleft()
            raise SourceError(f"memory: no {what}")

    @property
    def is_over(self) -> bool:
        return len(set(self.acknowledged)) == len(self.all)

    async def open(self) -> None:
        self._break("open")
        self._left = deque(one for one in self.all if one.position not in self.acknowledged)

    async def read(self, count: int, _wait_s: float) -> Sequence[Message]:
        self._break("read")
        return [self._left.popleft() for _ in range(min(count, len(self._left)))]

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        self._break("acknowledge")
        self.acknowledged += [one.position for one in messages]

    async def give_back(self, messages: Sequence[Message]) -> None:
        self._left.extendleft(reversed(messages))

    async def lag(self) -> int | None:
        return len(self.all) - len(self.acknowledged)

    async def close(self) -> None:
        pass


def _event(event_id: str, kind: str = STOP, **data: Any) -> dict[str, Any]:
    data = {"user_id": "u", "task_id": event_id, **data}
    return {"specversion": "1.0", "id": event_id, "source": "s", "type": kind, "data": data}


def _run(source: MemorySource, world: World, together: int = 10) -> Bridge:
    bridge = Bridge(AsyncFakeStopClient(world), source, together=together)  # type: ignore[arg-type]
    asyncio.run(bridge.run())
    return bridge


def test_every_message_becomes_what_it_asks_for() -> None:
    source = MemorySource(
        _event("1"),
        {"user_id": "u", "task_id": "2", "source": "crm"},
        _event("1", RESUMED),
        _event("x", "com.example.other"),
        b"nonsense",
        {"user_id": "u"},
        [1],
        _event("4", task_id="a b"),
    )
    world = World()
    bridge = _run(source, world)
    world.work()
    assert [str(one) for one in world.stopped] == ["u/2"], "the first was superseded"
    assert bridge.progress.counts == {
        "received": 8,
        "stops": 2,
        "resumes": 1,
        "ignored": 1,
        "failed": 0,
        "quarantined": 4,
    }
    assert source.acknowledged == [one.position for one in source.all]
    client = FakeStopClient(world)
    assert client.counts() == {"events_ignored": 1}
    letters = [one for one in client.dead_letters() if isinstance(one, DeadMessage)]
    origins = {one.origin: one.reason for one in letters}
    assert set(origins) == {f"memory, {position}" for position in (5, 6, 7, 8)}
    assert "task_id: this field is required" in origins["memory, 6"]
    with pytest.raises(InvalidRequestError, match="came from a stream"):
        client.redrive(letters)


def test_what_is_read_again_is_doubled_nowhere() -> None:
    bodies = [
        *(_event(str(number)) for number in range(20)),
        b"nonsense",
        {"user_id": "u", "task_id": "p"},
    ]
    source = MemorySource(*bodies)
    source.broken.extend(["open", "read", "acknowledge", "acknowledge", "acknowledge"])
    world = World()
    _run(source, world, together=7)
    world.work()
    assert len(world.stopped) == 21
    assert len(set(world.stopped)) == 21
    assert sum(1 for _ in FakeStopClient(world).dead_letters()) == 1


def test_a_ledger_that_is_away_or_full_is_waited_for() -> None:
    for trouble in (World.redis_is_away, World.redis_is_full):
        source, world = MemorySource(_event("1"), _event("2")), World()

        async def run(
            source: MemorySource = source, world: World = world, trouble: Any = trouble
        ) -> None:
            bridge = Bridge(AsyncFakeStopClient(world), source)  # type: ignore[arg-type]
            with trouble(world):
                running = asyncio.create_task(bridge.run())
                while bridge.progress.problem is None:  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0)
                assert source.acknowledged == []
            await running
            assert bridge.progress.problem is None

        asyncio.run(run())
        world.work()
        assert len(world.stopped) == 2


def test_one_that_is_told_to_end_leaves_nothing_half_done() -> None:
    source, world = MemorySource(*(_event(str(number)) for number in range(5))), World()

    async def run() -> Bridge:
        bridge = Bridge(AsyncFakeStopClient(world), source, together=2)  # type: ignore[arg-type]
        running = asyncio.create_task(bridge.run())
        while not source.acknowledged:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
        bridge.end()
        await running
        return bridge

    bridge = asyncio.run(run())
    assert bridge.progress.counts["stops"] == len(source.acknowledged)
    assert FakeStopClient(world).heartbeats().processes == ()


def test_health_knows_how_far_it_is() -> None:
    source, world = MemorySource(_event("1"), b"nonsense"), World()
    source.broken.extend(["read"] * 3)

    async def run() -> None:
        client = AsyncFakeStopClient(world)
        bridge = Bridge(client, source)  # type: ignore[arg-type]
        running = asyncio.create_task(bridge.run())
        while bridge.progress.problem is None:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
        await client.beat(bridge._said())
        (beat,) = (await client.heartbeats()).processes
        assert beat.role is ProcessRole.BRIDGE
        assert beat.bridge is not None
        assert (beat.bridge.source, beat.bridge.problem) == ("memory", "memory: no read")
        await running
        assert bridge.progress.position == "2"

    asyncio.run(run())


def test_a_conflict_goes_to_quarantine() -> None:
    source = MemorySource(
        _event("1"), {**_event("1"), "data": {"user_id": "u", "task_id": "other"}}
    )
    world = World()
    bridge = _run(source, world)
    assert (bridge.progress.counts["stops"], bridge.progress.counts["quarantined"]) == (1, 1)
    (letter,) = FakeStopClient(world).dead_letters()
    assert isinstance(letter, DeadMessage)
    assert letter.reason.startswith("idempotency_key: ")


def test_a_resume_to_come_goes_to_quarantine() -> None:
    ahead = {**_event("r", RESUMED), "time": "2999-01-01T00:00:00Z"}
    source, world = MemorySource(ahead, _event("1")), World()
    bridge = _run(source, world)
    assert (bridge.progress.counts["stops"], bridge.progress.counts["quarantined"]) == (1, 1)
    (letter,) = FakeStopClient(world).dead_letters()
    assert isinstance(letter, DeadMessage)
    assert "ahead of the server's clock" in letter.reason


def test_a_stream_of_something_else_does_not_fill_the_quarantine() -> None:
    source, world = MemorySource(*([b"nonsense"] * 1_000)), World()
    with pytest.raises(InvalidSettingsError, match="Is it the right stream"):
        _run(source, world, together=50)
    assert sum(1 for _ in FakeStopClient(world).dead_letters()) == 200


def test_a_resume_without_a_time_is_told_once() -> None:
    """Told again it would count as of now, and supersede the stop that came after it."""
    source = MemorySource(_event("r", RESUMED, task_id="t"), _event("s", task_id="t"))
    source.broken.append("acknowledge")
    world = World()
    _run(source, world)
    world.work()
    assert [str(one) for one in world.stopped] == ["u/t"]


def test_a_stream_that_was_made_again_has_other_keys() -> None:
    source = MemorySource()
    first = Message("7", b"", arrived_at=arrival(1_700_000_000_000))
    again = Message("7", b"", arrived_at=arrival(1_700_000_000_001))
    assert key_of(first, source) != key_of(again, source)  # type: ignore[arg-type]


@pytest.mark.parametrize("milliseconds", [-1, 0, 1, 1e15, 1e18, float("nan"), float("inf")])
def test_a_time_that_somebody_made_up_is_none(milliseconds: float) -> None:
    assert arrival(milliseconds) is None
