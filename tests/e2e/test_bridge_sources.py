"""Real streams, real bridges, killed with -9: nothing is lost, and nothing doubled."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import nats
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from stopline.contract import DeadMessage, Outcome
from stopline_events.decisions import STOP
from tests.conftest import wait_until
from tests.support.brokers import KafkaBroker, Nats
from tests.support.processes import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.support.processes import Stack

KILLS = 3
counts = pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.chaos)])
"""Of events; ten thousand of them are for `make chaos`."""
_SOON: Final = {"STOPLINE_BRIDGE_CLAIM_AFTER_S": "2"}


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = Nats(tmp_path_factory.mktemp("nats")).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka")).start()
    yield broker
    broker.kill()


def _events(seed: int, count: int) -> list[bytes]:
    """Events in no order, some of them twice or more often; and two that are none."""
    events = [
        orjson.dumps(
            {
                "specversion": "1.0",
                "id": str(number),
                "source": "test",
                "type": STOP,
                "data": {"user_id": f"u{number % 7}", "task_id": str(number)},
            }
        )
        for number in range(count)
    ]
    chosen = random.Random(seed)
    events += [chosen.choice(events) for _ in range(count // 10)]
    events += [b"nonsense", b'{"user_id":"u"}']
    chosen.shuffle(events)
    return events


def _check(
    stack: Stack, bridge: ServiceProcess, count: int, send: Callable[[Sequence[bytes]], None]
) -> None:
    """Send events while a bridge reads and is killed: each event's stop is there once."""
    events = _events(7, count)
    stack.api.start()
    stack.worker()
    bridge.start()
    pieces = [events[at :: KILLS + 1] for at in range(KILLS + 1)]
    for turn, piece in enumerate(pieces):
        send(piece)
        if turn < KILLS:
            seen = _received(stack)
            wait_until(lambda seen=seen: _received(stack) > seen, what="the bridge", limit_s=90)  # type: ignore[misc]
            bridge.kill()
            bridge.start()
    wait_until(lambda: len(_ended(stack)) == count, what="all outcomes", limit_s=120)
    outcomes = _ended(stack)
    assert sorted(outcomes, key=int) == [str(number) for number in range(count)]
    assert set(outcomes.values()) == {"stopped"}
    letters = list(stack.client.dead_letters())
    assert len(letters) == 2, letters
    assert all(isinstance(one, DeadMessage) and one.origin for one in letters)
    wait_until(lambda: _lag(stack) == 0, what="the lag", limit_s=60)
    assert bridge.end() == 0, bridge.log
    assert "Traceback" not in bridge.log


def _received(stack: Stack) -> int:
    """How many requests the ledger ever took."""
    with stack.client_of_server() as server:
        return len(server.keys("{stopline}:i:*"))


def _ended(stack: Stack) -> dict[str, str]:
    """Task and outcome of each request that ended; twice the same task would be a doubled event."""
    found: dict[str, str] = {}
    with stack.client_of_server() as server:
        names = server.keys("celery-task-meta-*")
        for at in range(0, len(names), 1_000):
            for raw in server.mget(names[at : at + 1_000]):
                outcome = Outcome.model_validate(orjson.loads(raw)["result"])
                assert outcome.task_id not in found, f"{outcome.task_id} has two requests"
                found[outcome.task_id] = outcome.outcome.value
    return found


def _lag(stack: Stack) -> int | None:
    states = [one.bridge for one in stack.client.heartbeats().processes if one.bridge]
    return min((one.lag for one in states if one.lag is not None), default=None)


@counts
def test_a_redis_stream(stack: Stack, count: int) -> None:
    def send(events: Sequence[bytes]) -> None:
        with stack.client_of_server() as server:
            pipe = server.pipeline(transaction=False)
            for event in events:
                pipe.xadd("stops", {"event": event})
            pipe.execute()

    _check(stack, ServiceProcess(stack, "bridge", "redis-stream", "stops", **_SOON), count, send)


@counts
def test_nats(stack: Stack, nats_server: Nats, count: int) -> None:
    name = f"STOPS-{count}"

    async def publish(events: Sequence[bytes]) -> None:
        client = await nats.connect(nats_server.url)
        stream = client.jetstream()
        await stream.add_stream(name=name, subjects=[f"{name}.>"])
        for event in events:
            await stream.publish(f"{name}.requested", event)
        await client.close()

    asyncio.run(publish(()))
    variables = {"STOPLINE_BRIDGE_URL": nats_server.url}
    bridge = ServiceProcess(stack, "bridge", "nats", name, **_SOON, **variables)
    _check(stack, bridge, count, lambda events: asyncio.run(publish(events)))


def test_a_header_of_a_publishers_is_no_word_of_the_server(stack: Stack, nats_server: Nats) -> None:
    """nats-py takes `Status` for one: such a message, and those beside it, were never taken."""

    async def publish() -> None:
        client = await nats.connect(nats_server.url)
        stream = client.jetstream()
        await stream.add_stream(name="ODD", subjects=["odd"])
        for number, status in enumerate((None, "500", "404", "100", None)):
            body = orjson.dumps({"user_id": "u", "task_id": str(number)})
            await stream.publish("odd", body, headers={"Status": status} if status else None)
        await client.close()

    asyncio.run(publish())
    variables = {"STOPLINE_BRIDGE_URL": nats_server.url}
    bridge = ServiceProcess(stack, "bridge", "nats", "ODD", **_SOON, **variables)
    bridge.start()
    wait_until(lambda: _received(stack) == 5, what="all five")
    assert bridge.end() == 0, bridge.log


@counts
def test_kafka(stack: Stack, kafka_broker: KafkaBroker, count: int) -> None:
    topic = f"stops-{count}"

    async def produce(events: Sequence[bytes]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka_broker.servers)
        await producer.start()
        for event in events:
            await producer.send(topic, event)
        await producer.flush()
        await producer.stop()

    kafka_broker.create_topic(topic, partitions=3)
    bridge = ServiceProcess(
        stack, "bridge", "kafka", topic, "--servers", kafka_broker.servers, **_SOON
    )
    _check(stack, bridge, count, lambda events: asyncio.run(produce(events)))


_PRODUCE_ODD: Final = """
import asyncio, sys
from aiokafka import AIOKafkaProducer

class Odd(str):
    def encode(self, *_):
        return b"\\xff\\xfe"

async def produce():
    producer = AIOKafkaProducer(bootstrap_servers=sys.argv[1])
    await producer.start()
    for number in range(8):
        body = b'{"user_id": "u", "task_id": "t%d"}' % number
        headers = {3: [(Odd("x"), b"")], 5: [("ce_id", b"\\xff")]}.get(number)
        await producer.send_and_wait(sys.argv[2], body, partition=number // 7, headers=headers)
    await producer.stop()

asyncio.run(produce())
"""


def test_a_header_that_is_no_text_holds_nobody_up(stack: Stack, kafka_broker: KafkaBroker) -> None:
    kafka_broker.create_topic("odd", partitions=2)
    # The client's part in C has no way to send one.
    subprocess.run(
        [sys.executable, "-c", _PRODUCE_ODD, kafka_broker.servers, "odd"],
        env={**stack.environment, "AIOKAFKA_NO_EXTENSIONS": "1"},
        check=True,
    )
    bridge = ServiceProcess(
        stack, "bridge", "kafka", "odd", "--servers", kafka_broker.servers, **_SOON
    )
    bridge.start()
    wait_until(lambda: _received(stack) == 6, what="all that can be read")
    wait_until(lambda: stack.client.dead_count() == 2, what="what cannot")
    assert bridge.end() == 0, bridge.log
    found = {one.origin: one.reason for one in stack.client.dead_letters()}
    assert found == {
        "kafka odd, odd/0@3": "the client cannot read it: a header's name is no UTF-8",
        "kafka odd, odd/0@5": "the header ce_id is no UTF-8",
    }


def test_standard_input_says_what_became_of_it(stack: Stack) -> None:
    events = b"\n".join(_events(3, 100))
    done = stack.run("bridge", "stdin", "--json", stdin=events)
    assert done.returncode == 1, done.stderr
    counts = orjson.loads(done.stdout)
    assert counts == {
        "received": 112,
        "stops": 110,
        "resumes": 0,
        "ignored": 0,
        "failed": 0,
        "quarantined": 2,
    }
    assert _received(stack) == 100
    again = stack.run("bridge", "stdin", stdin=events)
    assert again.returncode == 1
    redriven = stack.run("dead", "redrive", "--all", "--yes", "--json")
    assert (redriven.returncode, len(orjson.loads(redriven.stdout)["kept"])) == (1, 4)
    assert _received(stack) == 100


def test_a_stream_of_fields_needs_no_json(stack: Stack) -> None:
    with stack.client_of_server() as server:
        server.xadd("stops", {"user_id": "u", "task_id": "1", "reason": "über"})
        server.xadd("stops", {"user_id": "u"})
    bridge = ServiceProcess(stack, "bridge", "redis-stream", "stops")
    bridge.start()
    wait_until(lambda: len(list(stack.client.dead_letters())) == 1)
    wait_until(lambda: _received(stack) == 1)
    health = stack.run("health", "--json")
    (beat,) = (one for one in orjson.loads(health.stdout)["processes"] if one["bridge"])
    assert beat["role"] == "bridge"
    assert bridge.end() == 0
    assert b"redis-stream stops" in stack.run("dead", "list").stdout


def test_a_stream_that_is_away_is_waited_for(stack: Stack, tmp_path: Path) -> None:
    server = Nats(tmp_path / "away")
    bridge = ServiceProcess(stack, "bridge", "nats", "STOPS", STOPLINE_BRIDGE_URL=server.url)
    bridge.start()
    wait_until(lambda: "it is tried again" in bridge.log)
    wait_until(lambda: b"waits: nats STOPS" in stack.run("health").stderr, limit_s=30)

    async def publish() -> None:
        client = await nats.connect(server.url)
        stream = client.jetstream()
        await stream.add_stream(name="STOPS", subjects=["stops"])
        await stream.publish("stops", b'{"user_id":"u","task_id":"1"}')
        await client.close()

    server.start()
    try:
        asyncio.run(publish())
        wait_until(lambda: _received(stack) == 1)
        server.kill()
        server.start()
        asyncio.run(publish())
        wait_until(lambda: _received(stack) == 2)
        assert bridge.end() == 0
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nats", "STOPS"], b"STOPLINE_BRIDGE_URL"),
        (["nats"], b"stream"),
        (["kafka", "stops"], b"--servers"),
        ([], b"redis-stream"),
    ],
)
def test_what_is_missing_is_said(stack: Stack, arguments: list[str], told: bytes) -> None:
    done = stack.run("bridge", *arguments)
    assert done.returncode == 2
    assert told in done.stdout + done.stderr
