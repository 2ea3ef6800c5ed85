"""kombu's Redis transport, whose channels take the lanes' messages themselves.

What is wrong with the stock one (kombu 5.7): it pops a message, and notes it a moment later; who
dies in between has lost it. It parses what it popped before Celery sees it, and what it cannot
parse is gone, too. It goes by what a message says of itself: the tag to note it under, the queue to
put it back on, that it is to be decompressed. And it takes three round trips a message.

So for the lanes its poller watches bells (`bell.py`), which tell that there are messages, and its
channels take these through `lane_queues.py`, many at once, and give them to the inlet. For all
other queues, those of remote control, it is kombu's as it is.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar, Final

import redis
from kombu import compression
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import RedisError

from stopline.contract import Lane
from stopline.servers.connecting import connect
from stopline_worker.intake.bell import Bell
from stopline_worker.intake.envelope import MalformedError
from stopline_worker.intake.lane_queues import LANE_QUEUES, LaneQueues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stopline.servers.redis_server import RedisServer
    from stopline_worker.intake.inlet import Inlet
    from stopline_worker.liveness.consumption import Consumption

_REDIS_ERRORS: Final = (RedisError, OSError)
_TIMEOUT_S: Final = 2.0
_EACH_S: Final = 1.0
_log = logging.getLogger(__name__)


def install(*, redis: str, sentinel: str) -> None:
    """Have kombu use our transports in this process, and decompress nothing in it.

    Not by Celery's `broker_transport`: kombu goes by the address again when it fails over to
    another one, as with several Sentinels it does, and tells the name in banners and `inspect`.

    Args:
        redis: where the class is for one Redis, as `module:name`.
        sentinel: the same for Sentinel.
    """
    TRANSPORT_ALIASES.update({"redis": redis, "rediss": redis, "sentinel": sentinel})
    for content_type in compression.encoders():
        encoder, _ = compression.get_encoder(content_type)
        compression.register(encoder, _refuse_to_decompress, content_type)


def _refuse_to_decompress(_body: bytes) -> bytes:
    raise MalformedError("is compressed")


@dataclass(slots=True)
class Custody:
    """What transports work with; kombu makes them, and channels, anew with each connection.

    Attributes:
        inlet: where messages go.
        consumption: is told when they poll.
        broker: where the queues are; asked when it is first needed.
        visibility_timeout_s: how long a message may be unacknowledged; the same.
    """

    inlet: Inlet
    consumption: Consumption
    broker: Callable[[], RedisServer]
    visibility_timeout_s: Callable[[], float]
    _lane_queues: LaneQueues | None = field(default=None)

    @property
    def lane_queues(self) -> LaneQueues:
        """The lanes' queues, on a connection that outlives those of the transports."""
        if self._lane_queues is None:
            client = connect(self.broker(), timeout_s=_TIMEOUT_S, retries=1)
            self._lane_queues = LaneQueues(client, self.visibility_timeout_s())
        return self._lane_queues


def transport_class(custody: Custody) -> type[Transport]:
    """The class of transports for one Redis."""
    return type(Transport.__name__, (Transport,), {"custody": custody})


def sentinel_transport_class(custody: Custody) -> type[SentinelTransport]:
    """The class of transports where Sentinels name the Redis."""
    return type(SentinelTransport.__name__, (SentinelTransport,), {"custody": custody})


class QoS(kombu_redis.QoS):  # type: ignore[misc]  # kombu ships no types
    """Notes messages of other queues as kombu does."""

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Lanes are looked after by `LaneQueues`; other queues only if this worker serves some.

        Stock kombu puts back whatever is older than this worker's visibility timeout, though
        others that share the Redis may allow more time.
        """
        if self.channel.has_others:
            super().restore_visible(*args, **kwargs)


class _TakingChannel:
    """A channel that takes the lanes' messages itself. Stands before one of kombu's."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._bells: dict[str, Bell] = {}
        self._quiet_until = 0.0
        super().__init__(*args, **kwargs)

    @property
    def _custody(self) -> Custody:
        found: Custody = self.connection.custody  # type: ignore[attr-defined]  # kombu's, of our class
        return found

    @property
    def lanes(self) -> list[str]:
        """The lanes' queues that it consumes, in their order."""
        return [one for one in self.active_queues if one in LANE_QUEUES]  # type: ignore[attr-defined]  # kombu's

    @property
    def has_others(self) -> bool:
        """Whether it consumes other queues, too."""
        return len(self.lanes) < len(self.active_queues)  # type: ignore[attr-defined]  # kombu's

    def _update_queue_cycle(self) -> None:
        """Kombu's own polling leaves the lanes alone."""
        others = [one for one in self.active_queues if one not in LANE_QUEUES]  # type: ignore[attr-defined]  # kombu's
        self._queue_cycle.update(others)  # type: ignore[attr-defined]  # kombu's

    def bells(self) -> list[Bell]:
        """One for each lane that it consumes, made when it is first asked for."""
        for queue in self.lanes:
            if queue not in self._bells:
                client = redis.Redis(connection_pool=self.async_pool)  # type: ignore[attr-defined]  # kombu's
                bell = self._bells[queue] = Bell(client, queue)
                self.handlers[bell.name] = partial(self._answer, bell)  # type: ignore[attr-defined]  # kombu's
        return [self._bells[queue] for queue in self.lanes]

    @property
    def takes(self) -> bool:
        """Whether messages may be taken now."""
        return self._custody.inlet.has_room and time.monotonic() >= self._quiet_until

    def _answer(self, bell: Bell) -> None:
        """The server has answered at a bell."""
        entry = bell.heard()
        self._custody.consumption.polled()
        if not (self.takes and bell.queue in self.lanes):
            return
        if entry and bell.queue == Lane.EMERGENCY.queue:
            self._custody.inlet.look_ahead(entry)
        # All of them, in their order; and where none rang, lists that have no bell.
        self._take([bell.queue] if entry is None else self.lanes)

    def _receive(self) -> Any:
        """Read of remote control: what is no message there must not end the worker."""
        with self._unbroken():
            return super()._receive()  # type: ignore[misc]  # kombu's, below in the order

    def _brpop_read(self, **options: Any) -> Any:
        """The same of queues that are no lanes."""
        with self._unbroken():
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu's, below in the order

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        connections: Any = self.connection  # type: ignore[attr-defined]  # kombu's
        try:
            yield
        except (Empty, *connections.connection_errors, *connections.channel_errors) as error:
            if type(error) is KeyError:  # kombu counts it among those of connections
                _log.warning("no message: %r", error, extra={"action": "message_failed"})
                raise Empty from None
            raise
        except Exception as error:  # noqa: BLE001  # it was read, and is nothing
            _log.warning("no message: %r", error, extra={"action": "message_failed"})
            raise Empty from None

    def _take(self, queues: Sequence[str]) -> None:
        source = self._custody.lane_queues
        try:
            found = source.take(queues)
        except _REDIS_ERRORS as error:
            _log.warning("no messages taken: %r", error, extra={"action": "take_failed"})
            self._quiet_until = time.monotonic() + _EACH_S
            return
        if found:
            self._custody.inlet.take_entries(source, found)


class Channel(_TakingChannel, kombu_redis.Channel):  # type: ignore[misc]  # kombu ships no types
    """For one Redis."""


class SentinelChannel(_TakingChannel, kombu_redis.SentinelChannel):  # type: ignore[misc]  # kombu ships no types
    """For the Redis that the Sentinels name."""

    @property
    def sentinel_kwargs(self) -> dict[str, Any]:
        """The Sentinels' password, too, which `inspect stats` would tell were it an option."""
        return self._custody.broker().sentinel_options


class Poller(kombu_redis.MultiChannelPoller):  # type: ignore[misc]  # kombu ships no types
    """Watches bells, and tells that the loop goes round."""

    def __init__(self, custody: Custody) -> None:
        super().__init__()
        self._custody = custody

    def on_poll_start(self) -> None:
        """Called each time before the loop waits for its connections."""
        super().on_poll_start()
        if not self._channels:
            return  # pollers of former connections stay in the loop
        if not any(channel.active_queues for channel in self._channels):
            # Somebody told the worker to, as `control cancel_consumer` does.
            self._custody.consumption.paused()
            return
        self._custody.consumption.ticked(full=not self._custody.inlet.has_room)

    def _register_BRPOP(self, channel: Any) -> None:  # noqa: N802  # kombu's name
        """Where kombu would send its BRPOP: ask at the bells."""
        if channel.takes:
            for bell in channel.bells():
                if not self._client_registered(channel, bell.client, bell.name):
                    bell.silence()
                    self._register(channel, bell.client, bell.name)
                bell.listen()
        if channel.has_others:
            super()._register_BRPOP(channel)

    def maybe_check_brpop_health(self) -> None:
        """Close connections whose answer is overdue; the loop then notices."""
        super().maybe_check_brpop_health()
        for channel in self._channels:
            for bell in channel.bells():
                if bell.is_overdue(channel.health_check_interval):
                    _log.warning("no answer at %s", bell.queue, extra={"action": "bell_silent"})
                    bell.hang_up()

    def each_second(self) -> None:
        """Look for what somebody left; this also wakes the loop."""
        lanes = [one for channel in self._channels if channel.takes for one in channel.lanes]
        if not lanes:
            return
        source = self._custody.lane_queues
        try:
            given = source.give_back_overdue()
            self._custody.inlet.take_leftovers(source, lanes)
        except _REDIS_ERRORS as error:
            _log.debug("nothing given back: %r", error, extra={"action": "restore_failed"})
        else:
            if given:
                # Those that waited for their time, and those of workers that died.
                _log.debug("%d messages given back", given, extra={"action": "restored"})


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu ships no types
    """A transport whose channels take the lanes' messages."""

    Channel = Channel
    custody: ClassVar[Custody]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller(self.custody)

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Have the loop go by the poller."""
        super().register_with_event_loop(connection, loop)
        loop.call_repeatedly(_EACH_S, self.cycle.each_second)


class SentinelTransport(Transport):
    """The same with Sentinel."""

    default_port = kombu_redis.SentinelTransport.default_port
    Channel = SentinelChannel
