"""Taking messages off a queue loses none, and what stands in Redis is kombu's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from stopline import Lane, Settings
from stopline.contract import MESSAGE_IDS_MAX, STOP_TASK
from stopline.dispatch.publisher import Publisher
from stopline_worker.intake.dispatch_entries import MARK, ids_of
from stopline_worker.intake.envelope import opened, parsed, task_message
from stopline_worker.intake.lane_queues import UNACKED, UNACKED_INDEX, LaneQueues
from tests.support.odd_messages import odd_entry, stop_headers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kombu.transport.virtual import Channel

QUEUE = Lane.BULK.queue
QUEUES = [lane.queue for lane in Lane]


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def lanes(server: redis.Redis) -> LaneQueues:
    return LaneQueues(server, visibility_timeout_s=120)


@pytest.fixture
def stock(redis_url: str) -> Iterator[Channel]:
    """A channel of kombu's own."""
    with Connection(redis_url, transport="kombu.transport.redis:Transport") as connection:
        yield connection.channel()


def _send(url: str, count: int = 1, queue: str = QUEUE, **options: Any) -> list[str]:
    """Plain Celery's messages; their ids."""
    with Celery(broker=url, set_as_current=False) as app:
        return [
            app.send_task(
                STOP_TASK, kwargs={"user_id": "u", "task_id": str(n)}, queue=queue, **options
            ).id
            for n in range(count)
        ]


def _dispatch(url: str, *ids: str, lane: Lane = Lane.BULK) -> None:
    publisher = Publisher(Settings.load(redis_url=url), url)
    publisher.dispatch(lane, ids)
    publisher.close()


def _id(entry: bytes) -> str:
    return task_message(*_swapped(opened(parsed(entry)))).id


def _swapped(found: Any) -> tuple[Any, ...]:
    return found.headers, found.body, found.content_type, found.content_encoding


def _make_overdue(server: redis.Redis) -> None:
    for tag in server.zrange(UNACKED_INDEX, 0, -1):
        server.zincrby(UNACKED_INDEX, -121, tag)


def _take_and_lose_the_reply(lanes: LaneQueues, monkeypatch: pytest.MonkeyPatch) -> None:
    script = lanes._take

    def lose(*arguments: Any) -> None:
        script(*arguments)
        raise RedisConnectionError("cut")

    with monkeypatch.context() as broken:
        broken.setattr(lanes, "_take", lose)
        with pytest.raises(RedisConnectionError):
            lanes.take(QUEUES)


def test_what_is_taken_is_noted_in_the_same_step(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    ids = _send(redis_url, 3)
    found = lanes.take(QUEUES)
    assert [_id(one.entry) for one in found] == ids
    assert {one.queue for one in found} == {QUEUE}
    assert not server.llen(QUEUE)
    tags = {str(one.tag).encode() for one in found}
    assert set(server.hkeys(UNACKED)) == tags == set(server.zrange(UNACKED_INDEX, 0, -1))


def test_kombu_puts_back_what_one_of_ours_took(
    lanes: LaneQueues, server: redis.Redis, stock: Channel, redis_url: str
) -> None:
    """A worker of ours died in a fleet that has others."""
    (task_id,) = _send(redis_url)
    lanes.take(QUEUES)
    _make_overdue(server)
    stock.visibility_timeout = 120
    stock.qos.restore_visible()
    message = stock.basic_get(QUEUE)
    assert message.headers["id"] == task_id
    assert not server.hlen(UNACKED) - 1, "only that which the stock channel has taken now"


def test_what_another_worker_took_and_left_comes_back(
    lanes: LaneQueues, server: redis.Redis, stock: Channel, redis_url: str
) -> None:
    (task_id,) = _send(redis_url)
    before = server.lindex(QUEUE, 0)
    stock.basic_get(QUEUE, no_ack=False)
    assert not server.llen(QUEUE)
    assert lanes.give_back_overdue() == 0
    _make_overdue(server)
    assert lanes.give_back_overdue() == 1
    (back,) = server.lrange(QUEUE, 0, -1)
    assert json.loads(back) == json.loads(before)
    assert _id(back) == task_id
    assert not server.exists(UNACKED, UNACKED_INDEX)


def test_what_is_given_back_is_as_it_was(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    ids = _send(redis_url, 2)
    before = server.lrange(QUEUE, 0, -1)
    lanes.give_back([str(one.tag) for one in reversed(lanes.take(QUEUES))])
    assert server.lrange(QUEUE, 0, -1) == before
    assert [_id(one.entry) for one in lanes.take(QUEUES)] == ids


def test_what_is_acknowledged_never_comes_back(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    _send(redis_url, 2)
    lanes.acknowledge([str(one.tag) for one in lanes.take(QUEUES)])
    assert not server.exists(UNACKED, UNACKED_INDEX, QUEUE)
    lanes.acknowledge([])


def test_messages_of_other_queues_are_left_to_their_workers(
    lanes: LaneQueues, server: redis.Redis, stock: Channel
) -> None:
    """They share the Redis, and may allow more time."""
    with stock.connection.client.Producer() as producer:
        producer.publish({}, routing_key="others", declare=[])
    stock._put("others", _plain("others"))
    stock.basic_get("others", no_ack=False)
    _make_overdue(server)
    assert lanes.give_back_overdue() == 0
    assert server.hlen(UNACKED) == 1


def _plain(queue: str) -> dict[str, Any]:
    info = {"exchange": "", "routing_key": queue}
    properties = {"delivery_tag": "t", "delivery_info": info, "body_encoding": "base64"}
    return {"body": "", "content-type": "text/plain", "headers": {}, "properties": properties}


def test_a_message_that_is_put_off_comes_back_at_its_time(
    lanes: LaneQueues, redis_url: str
) -> None:
    _send(redis_url)
    (one,) = lanes.take(QUEUES)
    lanes.put_off(str(one.tag), 3600)
    assert lanes.give_back_overdue() == 0
    lanes.put_off(str(one.tag), -1)
    assert lanes.give_back_overdue() == 1


def test_messages_of_ids_are_taken_together_and_not_noted(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    _dispatch(redis_url, "a")
    _dispatch(redis_url, "b", "c")
    found = lanes.take(QUEUES)
    assert [ids_of(one.entry) for one in found] == [["a"], ["b", "c"]]
    assert [one.tag for one in found] == [None, None]
    assert not server.exists(UNACKED, QUEUE)


def test_no_more_is_taken_at_once_than_memory_is_for(
    lanes: LaneQueues, server: redis.Redis
) -> None:
    large = json.dumps(odd_entry(stop_headers(), "A" * 3_000_000))
    for _ in range(7):
        server.lpush(QUEUE, large)
    assert [len(lanes.take(QUEUES)) for _ in range(4)] == [2, 2, 2, 1]


def test_what_is_too_long_to_be_a_message_is_not_kept_whole(
    lanes: LaneQueues, server: redis.Redis
) -> None:
    server.lpush(QUEUE, b'{"x": "' + b"x" * 9_000_000)
    (one,) = lanes.take(QUEUES)
    assert not one.is_readable
    assert len(one.entry) == 64 * 1024
    assert lanes.unreadable(QUEUE) == [one.entry]
    assert not server.llen(QUEUE)


def test_a_request_is_noted_whatever_it_says(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    """Taken for a message of ids, it would be lost with its worker."""
    with Celery(broker=redis_url, set_as_current=False) as app:
        app.send_task(STOP_TASK, kwargs={"reason": MARK}, queue=QUEUE, shadow=MARK, argsrepr=MARK)
    (one,) = lanes.take(QUEUES)
    assert one.tag is not None
    assert server.hlen(UNACKED) == 1


def test_a_request_with_the_mark_in_what_nests_is_noted(
    lanes: LaneQueues, server: redis.Redis
) -> None:
    server.lpush(QUEUE, json.dumps(odd_entry(stop_headers(x={"task": "stopline.dispatch"}))))
    (one,) = lanes.take(QUEUES)
    assert one.tag is not None


def test_notes_of_others_do_not_keep_ours_from_coming_back(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    (task_id,) = _send(redis_url)
    lanes.take(QUEUES)
    _make_overdue(server)
    for number in range(1200):  # older than ours
        server.hset(UNACKED, f"other-{number}", '[{"x": 1}, "", "celery"]')
        server.zadd(UNACKED_INDEX, {f"other-{number}": number})
    assert lanes.give_back_overdue() == 1
    assert _id(server.lindex(QUEUE, 0)) == task_id


def test_no_note_is_written_over_another(
    lanes: LaneQueues, server: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply got lost, and somebody has put back a part of what it told of."""
    ids = _send(redis_url, 3)
    _take_and_lose_the_reply(lanes, monkeypatch)
    first = min(server.hkeys(UNACKED)).decode()
    lanes.give_back([first])
    found = {_id(one.entry) for one in lanes.take(QUEUES)}
    left = {_id(json.dumps(json.loads(one)[0]).encode()) for one in server.hvals(UNACKED)}
    assert found <= left == set(ids)


def test_a_queue_that_is_no_list_keeps_no_other_from_being_served(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    server.set(Lane.EMERGENCY.queue, "x")
    (task_id,) = _send(redis_url)
    assert [_id(one.entry) for one in lanes.take(QUEUES)] == [task_id]


@pytest.mark.parametrize("key", [UNACKED, UNACKED_INDEX])
def test_what_cannot_be_noted_is_not_taken(
    lanes: LaneQueues, server: redis.Redis, redis_url: str, key: str
) -> None:
    server.set(key, "x")
    _send(redis_url)
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        lanes.take(QUEUES)
    assert server.llen(QUEUE) == 1
    server.delete(key)
    assert len(lanes.take(QUEUES)) == 1
    assert server.hlen(UNACKED) == server.zcard(UNACKED_INDEX) == 1


def test_what_a_stock_worker_noted_with_an_exchange_comes_back(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    (task_id,) = _send(redis_url)
    entry = server.rpop(QUEUE).decode()
    server.hset(UNACKED, "t", f'[{entry}, "{QUEUE}", "{QUEUE}"]')
    server.zadd(UNACKED_INDEX, {"t": 1})
    assert lanes.give_back_overdue() == 1
    assert _id(server.lindex(QUEUE, 0)) == task_id


def test_an_entry_that_would_hold_the_server_up_is_none(
    lanes: LaneQueues, server: redis.Redis
) -> None:
    server.lpush(QUEUE, json.dumps(odd_entry(stop_headers(x=[[]] * 500_000))))
    (one,) = lanes.take(QUEUES)
    assert not one.is_readable


def test_the_first_queue_comes_first_and_no_more_than_a_round(
    lanes: LaneQueues, redis_url: str
) -> None:
    _send(redis_url, MESSAGE_IDS_MAX, Lane.BULK.queue)
    (urgent,) = _send(redis_url, 1, Lane.EMERGENCY.queue)
    found = lanes.take(QUEUES)
    assert len(found) == MESSAGE_IDS_MAX
    assert _id(found[0].entry) == urgent
    assert len(lanes.take(QUEUES)) == 1


def test_ids_are_taken_off_a_full_server(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    """Nothing is written for them, and their calls may be what makes room."""
    _dispatch(redis_url, "a")
    lanes.take([])
    server.config_set("maxmemory", 1)
    try:
        assert [ids_of(one.entry) for one in lanes.take(QUEUES)] == [["a"]]
    finally:
        server.config_set("maxmemory", 0)


def test_messages_with_a_priority_are_found(lanes: LaneQueues, redis_url: str) -> None:
    ids = _send(redis_url, 1, priority=9) + _send(redis_url, 1, priority=3)
    assert {_id(one.entry) for one in lanes.take(QUEUES)} == set(ids)


def test_a_reply_that_got_lost_is_asked_for_again(
    lanes: LaneQueues, server: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _send(redis_url, 2)
    _take_and_lose_the_reply(lanes, monkeypatch)
    assert not server.llen(QUEUE)
    assert [_id(one.entry) for one in lanes.take(QUEUES)] == ids
    assert lanes.take(QUEUES) == []


_UNREADABLE = {
    "no JSON": b"garbage{",
    "no UTF-8": b"\xff\xfe\x00",
    "a list": b"[1, 2]",
    "text behind it": b"{} {",
    "nesting": json.dumps(odd_entry(stop_headers(x=json.loads("[" * 50 + "]" * 50)))).encode(),
    "nesting without an end": b"{" * 200_000,
}


@pytest.mark.parametrize("name", _UNREADABLE)
def test_what_nobody_can_parse_is_never_noted(
    lanes: LaneQueues, server: redis.Redis, redis_url: str, name: str
) -> None:
    """Whoever puts notes back parses them: one such would hold up all others, for ever."""
    server.lpush(QUEUE, _UNREADABLE[name])
    (task_id,) = _send(redis_url)
    bad, good = lanes.take(QUEUES)
    kept = _UNREADABLE[name][: 64 * 1024]
    assert (bad.entry, bad.tag, bad.is_readable) == (kept, None, False)
    assert _id(good.entry) == task_id
    assert lanes.unreadable(QUEUE) == [kept], "until it is kept elsewhere"
    lanes.forget_unreadable(QUEUE, kept)
    assert lanes.unreadable(QUEUE) == []
    assert server.hlen(UNACKED) == 1


def test_a_full_server_takes_nothing_off_its_queues(
    lanes: LaneQueues, server: redis.Redis, redis_url: str
) -> None:
    _send(redis_url)
    lanes.take([])  # the script is there
    server.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            lanes.take(QUEUES)
    finally:
        server.config_set("maxmemory", 0)
    assert len(lanes.take(QUEUES)) == 1
