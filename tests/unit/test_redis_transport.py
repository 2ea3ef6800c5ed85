"""What goes wrong between the queue and the consumer loses nothing, and stops nobody."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import redis
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from stopline_worker.intake.quarantine import Quarantine
from stopline_worker.intake.redis_transport import transport_class
from stopline_worker.process.runtime import Runtime
from tests.support.transports import Keeper, custody_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kombu.transport.virtual import Channel


def test_what_cannot_be_kept_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was popped from its queue, and the ledger is away: nothing else has it."""
    monkeypatch.setenv("STOPLINE_REDIS_URL", "redis://127.0.0.1:1/0")
    custody = custody_of(Quarantine(Runtime()))
    custody.keep(b"garbage{", "is no JSON", "stopline.default")
    assert base64.b64encode(b"garbage{").decode() in caplog.text


@pytest.fixture
def channel(redis_url: str) -> Iterator[Channel]:
    """A channel with room for one message, and one message on its queue."""
    transport = transport_class(custody_of(Keeper()))
    with Connection(redis_url, transport=transport) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        channel.queue_declare("q")
        channel._put("q", _message("one"))
        yield channel


def _message(tag: str) -> dict[str, Any]:
    info = {"exchange": "", "routing_key": "q"}
    properties = {"delivery_tag": tag, "delivery_info": info, "body_encoding": "base64"}
    return {"body": "", "content-type": "text/plain", "headers": {}, "properties": properties}


def _fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def execute(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(redis.client.Pipeline, "execute", execute)


@pytest.mark.parametrize("error", [OutOfMemoryError("OOM"), RedisConnectionError("cut")])
def test_a_message_that_cannot_be_noted_is_handled_all_the_same(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Popped and not noted, it would be in no queue and in no list of the broker's."""
    with monkeypatch.context() as broken:
        _fail(broken, error)
        message = channel.basic_get("q")
    assert message is not None
    assert message.delivery_tag == "one"


@pytest.mark.parametrize("how", ["reject", "close"])
def test_a_message_that_was_not_noted_goes_back_when_it_is_not_handled(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Kombu looks for it among the noted ones, and drops what is not there."""
    with monkeypatch.context() as broken:
        _fail(broken, OutOfMemoryError("OOM"))
        message = channel.basic_get("q")
    assert message is not None
    if how == "reject":
        message.reject(requeue=True)
    else:
        channel.qos.restore_unacked()
    assert channel.basic_get("q").delivery_tag == "one"


def test_what_cannot_be_put_back_at_once_is_put_back_later(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        _fail(broken, OutOfMemoryError("OOM"))
        message = channel.basic_get("q")
        assert message is not None
        broken.setattr(channel, "_do_restore_message", lambda *_, **__: _raise())
        message.reject(requeue=True)
    assert channel.qos.can_consume()
    channel.qos.give_back_owed()
    assert channel.basic_get("q").delivery_tag == "one"


@pytest.mark.parametrize("how", ["ack", "reject", "requeue"])
def test_a_message_that_cannot_be_acknowledged_takes_up_no_room(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """With a prefetch of one, the worker would consume nothing any more."""
    message = channel.basic_get("q")
    assert message is not None
    assert not channel.qos.can_consume()
    with monkeypatch.context() as broken:
        _fail(broken, RedisConnectionError("cut"))
        broken.setattr(redis.Redis, "transaction", lambda *_, **__: _raise())
        with pytest.raises(RedisConnectionError):
            message.ack() if how == "ack" else message.reject(requeue=how == "requeue")
    assert channel.qos.can_consume()
    channel._put("q", _message("two"))
    assert channel.basic_get("q").delivery_tag == "two"


def _raise() -> None:
    raise RedisConnectionError("cut")
