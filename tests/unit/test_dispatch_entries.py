"""Small dispatch messages become one; everything else stays as it is."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import kombu.utils.json
import pytest
import redis
from kombu import Connection

from stopline import Lane, Settings
from stopline.contract import MESSAGE_IDS_MAX, STOP_TASK
from stopline.dispatch.publisher import Publisher
from stopline_worker.intake.dispatch_entries import MARK, Entry, gathered, ids_of, is_dispatch
from stopline_worker.intake.redis_transport import transport_class
from tests.support.transports import Keeper, custody_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kombu.transport.virtual import Channel

QUEUE = Lane.BULK.queue


def _message(content: Any, *, task: str = "stopline.dispatch", **headers: Any) -> dict[str, Any]:
    body = base64.b64encode(json.dumps(content).encode()).decode()
    return {
        "body": body,
        "headers": {"task": task, "id": "m", "argsrepr": "", **headers},
        "properties": {
            "delivery_tag": "t",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "body_encoding": "base64",
        },
    }


def _dispatch(*ids: str, **headers: Any) -> dict[str, Any]:
    return _message([[list(ids)], {}, {"chain": None}], **headers)


def test_dispatch_messages_become_one() -> None:
    (one,) = gathered(map(Entry.of, [_dispatch("a"), _dispatch("b", "c"), _dispatch("d")]))
    assert ids_of(one) == ["a", "b", "c", "d"]
    assert one["properties"] == _dispatch("a")["properties"]


def test_none_gets_more_ids_than_a_worker_takes() -> None:
    messages = [_dispatch(*(f"{n}-{i}" for i in range(60))) for n in range(10)]
    found = [ids_of(one) for one in gathered(map(Entry.of, messages))]
    assert all(len(ids or ()) <= MESSAGE_IDS_MAX for ids in found)
    assert [one for ids in found for one in ids or ()] == [
        f"{n}-{i}" for n in range(10) for i in range(60)
    ]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(_message([[], {"user_id": "u"}, {}], task=STOP_TASK), id="a request"),
        pytest.param(_dispatch("a", eta="2026-11-22T00:00:00Z"), id="for later"),
        pytest.param(_dispatch("a", expires="2026-11-22T00:00:00Z"), id="it expires"),
        pytest.param(_dispatch("a", "no id!"), id="a bad id"),
        pytest.param(_message([[["a"], 1], {}, {}]), id="two arguments"),
        pytest.param(_message([[["a"]], {"more": 1}, {}]), id="a keyword argument"),
        pytest.param(_message("text"), id="no task arguments"),
        pytest.param({**_dispatch("a"), "body": "%%%"}, id="no base64"),
        pytest.param({"headers": None}, id="no headers"),
        pytest.param(["no", "message"], id="a list"),
    ],
)
def test_what_is_more_than_ids_is_left_as_it_is(other: Any) -> None:
    assert ids_of(other) is None
    found = list(gathered(map(Entry.of, [_dispatch("a"), other, _dispatch("b")])))
    assert other in found
    assert [ids for one in found if (ids := ids_of(one))] == [["a", "b"]]


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def channel(redis_url: str, keeper: Keeper) -> Iterator[Channel]:
    transport = transport_class(custody_of(keeper))
    with Connection(redis_url, transport=transport) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE)
        yield channel


def test_our_own_messages_are_known_by_their_mark(channel: Channel, redis_url: str) -> None:
    publisher = Publisher(Settings.load(redis_url=redis_url), redis_url)
    publisher.dispatch(Lane.BULK, ["a"])
    publisher.close()
    with redis.Redis.from_url(redis_url) as client:
        (entry,) = client.lrange(QUEUE, 0, -1)
    assert MARK.encode() in entry
    assert is_dispatch(json.loads(entry))
    assert [ids_of(one) for one in channel.pop_dispatch(QUEUE)] == [["a"]]


def test_a_request_is_not_popped_with_them_whatever_it_says(channel: Channel) -> None:
    """Between its pop and its note a message would be lost with its worker."""
    request = _message([[], {"reason": MARK}, {}], task=STOP_TASK, argsrepr=repr(MARK), shadow=MARK)
    for message in (_dispatch("a"), request, _dispatch("b")):
        channel._put(QUEUE, message)
    assert [ids_of(one) for one in channel.pop_dispatch(QUEUE)] == [["a"]]
    assert channel._size(QUEUE) == 2


def test_what_is_no_message_is_kept_and_takes_no_other_along(
    channel: Channel, redis_url: str, keeper: Keeper
) -> None:
    broken = [f"{{ {MARK} no JSON".encode(), MARK.encode() + b"\xff"]
    with redis.Redis.from_url(redis_url) as client:
        for entry in (json.dumps(_dispatch("a")), *broken, json.dumps(_dispatch("b"))):
            client.lpush(QUEUE, entry)
    assert [ids_of(one) for one in channel.pop_dispatch(QUEUE)] == [["a"], ["b"]]
    assert [one.body for one in keeper.kept] == broken


def test_a_dispatch_message_is_not_noted_and_comes_back_when_its_worker_stops(
    channel: Channel, redis_url: str
) -> None:
    channel._put(QUEUE, _dispatch("a"))
    channel.basic_consume(QUEUE, no_ack=False, callback=lambda _message: None, consumer_tag="c")
    consuming = channel.connection.client
    consuming.drain_events(timeout=5)
    with redis.Redis.from_url(redis_url) as client:
        assert not client.exists("unacked", "unacked_index")
        assert channel._size(QUEUE) == 0
        channel.qos.restore_unacked()
        (entry,) = client.lrange(QUEUE, 0, -1)
    assert ids_of(kombu.utils.json.loads(entry)) == ["a"]
