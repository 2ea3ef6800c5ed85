"""kombu's Redis transport, which loses nothing it popped and takes small messages together.

It also tells when it last polled.

What is wrong with the stock one (kombu 5.7):

- It parses what it pops from a queue's list before Celery sees it; anything but its own envelope
  raises out of the event loop, and the popped item is gone (`Channel._brpop_read`). Kept here.
- Where popping worked but noting the message as unacknowledged does not (Redis full, or cut off in
  between), the message is gone (`QoS.append`). Here it is handled all the same.
- Where acknowledging fails, the message counts as unacknowledged for ever, in a room that is never
  given back (`QoS.ack`); with a prefetch of one the worker is then alive and consumes nothing. Here
  the room is given back; the broker delivers the message again, which doubles nothing.
- It goes by what a message says of itself: the tag to note it under, the queue to put it back on,
  and that it is to be decompressed (389 KB became 850 MB). Here its envelope is made anew
  (`envelope.py`), and nothing is decompressed.
- It takes three round trips and half a millisecond for a message of one id. Here dispatch messages
  that wait behind each other are popped together and become one (`dispatch_entries.py`), and are
  not noted: the ledger has their ids, and its sweep finds what a crash loses.
"""

from __future__ import annotations

import base64
import json
import logging
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from kombu import compression
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport import redis as kombu_redis
from redis.exceptions import RedisError

from stopline.contract import MESSAGE_IDS_MAX, Lane
from stopline_worker.intake.dispatch_entries import (
    ENTRIES_MAX,
    ENTRY_BYTES_MAX,
    MARK,
    Entry,
    gathered,
    is_dispatch,
)
from stopline_worker.intake.envelope import MalformedError, check_entry_text, entry
from stopline_worker.intake.quarantine import junk_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopline.servers.redis_server import RedisServer
    from stopline_worker.intake.quarantine import Quarantine
    from stopline_worker.liveness.consumption import Consumption

_LANES: Final = frozenset(lane.queue for lane in Lane)
"""Other queues are Celery's own, of its remote control."""
_LOGGED_BYTES_MAX: Final = 8 * 1024
_REDIS_ERRORS: Final = (RedisError, OSError)

_log = logging.getLogger(__name__)
_loads: Final = kombu_redis.loads


class UnreadableEntryError(ValueError):
    """An entry of a queue that kombu cannot parse; `entry` is what was popped."""

    def __init__(self, entry: object, reason: str) -> None:
        super().__init__(reason)
        self.entry = entry if isinstance(entry, bytes) else str(entry).encode("utf-8", "replace")


def _loads_or_tell(text: Any) -> Any:
    """Kombu's parser, whose every error has what it could not parse."""
    try:
        check_entry_text(text)
    except MalformedError as error:
        raise UnreadableEntryError(text, str(error)) from None
    try:
        return _loads(text)
    except Exception as error:
        raise UnreadableEntryError(text, f"is no JSON ({type(error).__name__})") from error


def install(*, redis: str, sentinel: str) -> None:
    """Have kombu use our transports in this process, and mend of it what no class of ours can.

    Not by Celery's `broker_transport`: kombu goes by the address again when it fails over to
    another one, as with several Sentinels it does, and tells the name in banners and `inspect`.

    Args:
        redis: where the class is for one Redis, as `module:name`.
        sentinel: the same for Sentinel.
    """
    TRANSPORT_ALIASES.update({"redis": redis, "rediss": redis, "sentinel": sentinel})
    # The module's own name for its parser: there is no other place to learn what was popped.
    kombu_redis.loads = _loads_or_tell
    for content_type in compression.encoders():
        encoder, _ = compression.get_encoder(content_type)
        compression.register(encoder, _refuse_to_decompress, content_type)


@dataclass(slots=True)
class Custody:
    """What transports work with, so that nothing they took is lost.

    kombu makes them, and channels, anew with each connection.

    Attributes:
        quarantine: keeps what is no message.
        consumption: is told when they poll.
        broker: where the queues are; asked when it is first needed.
        owed: messages that were popped, are noted nowhere, and must go back.
    """

    quarantine: Quarantine
    consumption: Consumption
    broker: Callable[[], RedisServer]
    owed: deque[_Owed] = field(default_factory=deque)

    def keep(self, body: bytes, problem: str, queue: str | None = None) -> None:
        """Keep an entry of a queue that is no message."""
        reason = f"the queue's entry {problem}"
        if not self.quarantine.keep(junk_of(body, reason, queue=queue, truncated=True)):
            # It was popped, and there is no way to give it back: the log is all there is.
            shown = base64.b64encode(body[:_LOGGED_BYTES_MAX]).decode()
            _log.error("%s: %s", reason, shown, extra={"action": "quarantine_failed"})


def transport_class(custody: Custody) -> type[Transport]:
    """The class of transports for one Redis."""
    return type(Transport.__name__, (Transport,), {"custody": custody})


def sentinel_transport_class(custody: Custody) -> type[SentinelTransport]:
    """The class of transports where Sentinels name the Redis."""
    return type(SentinelTransport.__name__, (SentinelTransport,), {"custody": custody})


def _refuse_to_decompress(_body: bytes) -> bytes:
    raise MalformedError("is compressed")


@dataclass(frozen=True, slots=True)
class _Owed:
    """A message that was popped and is noted nowhere: unless it is put back, it is gone."""

    payload: Any
    exchange: str
    routing_key: str

    @classmethod
    def of(cls, message: Any) -> Self:
        info = message.delivery_info
        return cls(message._raw, info["exchange"], info["routing_key"])  # noqa: SLF001  # as kombu does


_POP_DISPATCH: Final = """
local taken = {}
while #taken < tonumber(ARGV[1]) do
  local entry = redis.call('LINDEX', KEYS[1], -1)
  if not entry or #entry > tonumber(ARGV[2]) or not string.find(entry, ARGV[3], 1, true) then
    break
  end
  taken[#taken + 1] = redis.call('RPOP', KEYS[1])
end
return taken
"""
"""Takes the dispatch messages that are next in a queue. KEYS: the queue. ARGV: how many at most,
the longest entry, what one has in it. Returns the entries."""


class QoS(kombu_redis.QoS):  # type: ignore[misc]  # kombu ships no types
    """Notes what is unacknowledged, and goes on where Redis cannot."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unnoted: dict[str, _Owed] = {}
        self._owed: deque[_Owed] = self.channel.connection.custody.owed

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was popped."""
        if is_dispatch(message._raw):  # noqa: SLF001  # as kombu does
            self._unnoted[delivery_tag] = _Owed.of(message)
            virtual.QoS.append(self, message, delivery_tag)
            return
        try:
            super().append(message, delivery_tag)
        except _REDIS_ERRORS as error:
            _log.warning(
                "message not noted as unacknowledged: %r", error, extra={"action": "note_failed"}
            )
            self._unnoted[delivery_tag] = _Owed.of(message)
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message."""
        unnoted = self._unnoted.pop(delivery_tag, None)
        if unnoted is not None and is_dispatch(unnoted.payload):
            virtual.QoS.ack(self, delivery_tag)
            return
        with self._room_given_back(delivery_tag):
            super().ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Put back what is not acknowledged when the channel closes."""
        self._owed.extend(self._unnoted.values())
        self._unnoted.clear()
        self.give_back_owed()
        super().restore_unacked(client)

    def give_back_owed(self) -> None:
        """Put back what no list of the broker's has."""
        while self._owed:
            one = self._owed[0]
            try:
                with self.channel.conn_or_acquire() as client:
                    self.channel._do_restore_message(  # noqa: SLF001  # kombu's own way to put one back
                        one.payload, one.exchange, one.routing_key, client, leftmost=True
                    )
            except _REDIS_ERRORS as error:
                _log.warning("message not put back: %r", error, extra={"action": "restore_failed"})
                return
            self._owed.popleft()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # kombu's signature
        """Drop a message, or put it back."""
        unnoted = self._unnoted.pop(delivery_tag, None)
        if unnoted is not None and requeue:
            self._owed.append(unnoted)
            virtual.QoS.ack(self, delivery_tag)
            self.give_back_owed()
            return
        with self._room_given_back(delivery_tag):
            super().reject(delivery_tag, requeue)

    @contextmanager
    def _room_given_back(self, delivery_tag: str) -> Iterator[None]:
        try:
            yield
        except _REDIS_ERRORS:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Poller(kombu_redis.MultiChannelPoller):  # type: ignore[misc]  # kombu ships no types
    """Tells that the loop goes round."""

    def __init__(self, custody: Custody) -> None:
        super().__init__()
        self._custody = custody

    def on_poll_start(self) -> None:
        """Called each time before the loop waits for its connections."""
        super().on_poll_start()
        if not self._channels:
            return  # pollers of former connections stay in the loop
        consuming = [channel for channel in self._channels if channel.active_queues]
        if not consuming:  # somebody told the worker to, as `control cancel_consumer` does
            self._custody.consumption.paused()
            return
        full = any(not channel.qos.can_consume() for channel in consuming)
        self._custody.consumption.ticked(full=full)
        if self._custody.owed:
            consuming[0].qos.give_back_owed()


class _KeepingChannel:
    """A channel that keeps what is no JSON. Stands before one of kombu's."""

    QoS = QoS

    def pop_dispatch(self, queue: str) -> list[Any]:
        """The dispatch messages that wait next in a queue, taken off it."""
        try:
            with self.conn_or_acquire() as client:  # type: ignore[attr-defined]  # kombu's
                entries = client.eval(_POP_DISPATCH, 1, queue, ENTRIES_MAX, ENTRY_BYTES_MAX, MARK)
        except _REDIS_ERRORS as error:
            _log.debug("no more taken: %r", error, extra={"action": "gather_failed"})
            return []
        return [one for taken in entries if (one := self._parsed(taken, queue)) is not None]

    def _parsed(self, taken: bytes, queue: str) -> Any:
        """An entry that was popped, or None where it is no message, and kept as such."""
        try:
            return _loads_or_tell(taken)
        except UnreadableEntryError as error:
            self._custody.keep(error.entry, str(error), queue)
            return None

    @property
    def _custody(self) -> Custody:
        found: Custody = self.connection.custody  # type: ignore[attr-defined]  # kombu's, of our class
        return found

    def _brpop_read(self, **options: Any) -> Any:
        self.connection.popping = self  # type: ignore[attr-defined]  # kombu's, of our class
        try:
            found = super()._brpop_read(**options)  # type: ignore[misc]  # kombu's, below in the order
        except Empty:
            self._custody.consumption.polled()
            raise
        except UnreadableEntryError as error:
            self._custody.keep(error.entry, str(error))
        except UnicodeDecodeError as error:
            self._custody.keep(bytes(error.object), "is no UTF-8")
        else:
            self._custody.consumption.polled()
            return found
        self._custody.consumption.polled()
        raise Empty


class Channel(_KeepingChannel, kombu_redis.Channel):  # type: ignore[misc]  # kombu ships no types
    """For one Redis."""


class SentinelChannel(_KeepingChannel, kombu_redis.SentinelChannel):  # type: ignore[misc]  # kombu ships no types
    """For the Redis that the Sentinels name."""

    @property
    def sentinel_kwargs(self) -> dict[str, Any]:
        """The Sentinels' password, too, which `inspect stats` would tell were it an option."""
        return self._custody.broker().sentinel_options


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu ships no types
    """A transport that keeps what is no envelope of kombu's."""

    Channel = Channel
    custody: ClassVar[Custody]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller(self.custody)
        self.popping: _KeepingChannel | None = None

    def _deliver(self, message: Any, queue: str) -> None:
        """Hand a message that was popped to its consumer, with those that go together with it."""
        first = Entry.of(message)
        if first.ids is None or len(first.ids) == MESSAGE_IDS_MAX or self.popping is None:
            self._hand_over(message, queue)
            return
        more = map(Entry.of, self.popping.pop_dispatch(queue))
        for one in gathered([first, *more]):
            self._hand_over(one, queue)

    def _hand_over(self, message: Any, queue: str) -> None:
        try:
            clean = entry(message, queue) if queue in _LANES else message
        except MalformedError as error:
            self.custody.keep(json.dumps(message).encode(), str(error), queue)
        else:
            super()._deliver(clean, queue)


class SentinelTransport(Transport):
    """The same with Sentinel."""

    default_port = kombu_redis.SentinelTransport.default_port
    Channel = SentinelChannel
