"""Dispatch messages: they tell workers at once what the ledger has accepted.

A message carries request ids and nothing else. One that is lost costs seconds, not a stop: the
ledger's `due` index brings every request back (docs/semantics.md).
"""

from __future__ import annotations

import asyncio
import base64
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from kombu.pools import ProducerPool
from redis.exceptions import RedisError

from stopline.contract import DISPATCH_TASK, MESSAGE_IDS_MAX, DeadMessage, Lane
from stopline.dispatch import strays
from stopline.dispatch.broker import SOCKET_TIMEOUT_S, broker_options, is_amqp
from stopline.dispatch.redis_queues import AsyncRedisQueues, RedisQueues, tell_unsent
from stopline.errors import UnavailableError
from stopline.servers.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kombu import Queue

    from stopline.settings.model import Settings

_CONNECTIONS_MAX: Final = 10
_ACQUIRE_TIMEOUT_S: Final = 10.0
_BROKER_ERRORS: Final = (KombuError, OperationalError, AMQPError, RedisError, OSError)
# Two quick tries: a message is worth less than its sender's time.
_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


class Publisher:
    """Puts messages on the lanes' queues. Safe to share between threads, and across a fork."""

    def __init__(self, settings: Settings, broker_url: str) -> None:
        self._options = broker_options(settings, broker_url, waits=False)
        self._wire: _Wire | None = None
        server = RedisServer.of(broker_url, settings)
        self._redis = None if is_amqp(server.celery_url) else RedisQueues(server)

    def _of_this_process(self) -> _Wire:
        """After `os.fork()` the child has the parent's connections: two would talk on one.

        They are left as they are, since closing them would tell the broker that the parent is gone.
        """
        if self._wire is not None and self._wire.pid != os.getpid():
            _left_to_parents.append(self._wire)
            self._wire = None
        if self._wire is None:
            self._wire = _Wire.to(self._options)
        return self._wire

    def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> bool:
        """Send ids to a lane, at most `MESSAGE_IDS_MAX` a message.

        Returns:
            Whether the broker took them all. If not, a sweep finds them when they are due, so this
            is logged, not raised.
        """
        try:
            if self._redis is not None:
                self._redis.dispatch(lane, request_ids)
                return True
            for first in range(0, len(request_ids), MESSAGE_IDS_MAX):
                self._send(lane, list(request_ids[first : first + MESSAGE_IDS_MAX]))
        except Exception as error:  # noqa: BLE001  # whatever a broker's client raises: see Returns
            tell_unsent(lane, request_ids, error)
            return False
        return True

    def _send(self, lane: Lane, request_ids: list[str]) -> None:
        wire = self._of_this_process()
        with wire.producer() as producer:
            wire.app.send_task(
                DISPATCH_TASK,
                args=(request_ids,),
                queue=lane.queue,
                producer=producer,
                retry=True,
                retry_policy=_RETRY_POLICY,
                timeout=SOCKET_TIMEOUT_S,
                confirm_timeout=SOCKET_TIMEOUT_S,
                # Celery would write all ids into the headers again, for its logs.
                argsrepr=f"<{len(request_ids)} ids>",
                kwargsrepr="",
            )

    def republish(self, message: DeadMessage) -> None:
        """Put a quarantined message back on its queue, byte by byte as it came.

        Raises:
            UnavailableError: the broker cannot be reached.
        """
        body = base64.b64decode(message.body)
        with _translated(), self._of_this_process().producer() as producer:
            producer.publish(
                body,
                routing_key=message.queue,
                exchange="",
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                headers=message.headers,
                # RabbitMQ confirms what it drops for want of a queue.
                declare=[one for one in self._options["task_queues"] if one.name == message.queue],
                retry=True,
                retry_policy=_RETRY_POLICY,
                timeout=SOCKET_TIMEOUT_S,
                confirm_timeout=SOCKET_TIMEOUT_S,
            )

    def depths(self) -> dict[Lane, int | None]:
        """How many messages wait on each lane's queue; None where there is no queue yet.

        Raises:
            UnavailableError: the broker cannot be reached.
        """
        found = self.depths_of([lane.queue for lane in Lane])
        return {lane: found[lane.queue] for lane in Lane}

    def depths_of(self, queues: Sequence[str]) -> dict[str, int | None]:
        """The same for any queues; looks only, and makes none.

        Raises:
            UnavailableError: the broker cannot be reached.
        """
        with _translated(), self._of_this_process().app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
            # In Redis a queue without messages is no queue, and nobody needs to make it.
            missing = 0 if connection.transport.driver_type == "redis" else None
            depths = ((queue, _depth(connection, queue)) for queue in queues)
            return {queue: missing if depth is None else depth for queue, depth in depths}

    def queues_of_another_kind(self) -> tuple[str, ...]:
        """Lane queues that are there and that no worker can declare (AMQP: not durable, say).

        Raises:
            UnavailableError: the broker cannot be reached.
        """
        with _translated(), self._of_this_process().app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
            if connection.transport.driver_type != "amqp":
                return ()
            there = [lane.queue for lane in Lane if _depth(connection, lane.queue) is not None]
            kinds = {queue.name: queue for queue in self._options["task_queues"]}
            return tuple(name for name in there if not _is_declarable(connection, kinds[name]))

    def strays(self) -> dict[str, int]:
        """Queues that no worker serves and that hold messages of Stopline's tasks, with how many.

        Plain Celery sends to the queue `celery` where it is given none. Other brokers than Redis do
        not let anybody look into a queue: there, whatever lies in that one counts.

        Raises:
            UnavailableError: the broker cannot be reached.
        """
        with _translated(), self._of_this_process().app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
            if connection.transport.driver_type == "redis":
                return strays.in_redis(connection.default_channel.client)
            depth = _depth(connection, strays.CELERYS_DEFAULT)
            return {strays.CELERYS_DEFAULT: depth} if depth else {}

    def close(self) -> None:
        """Close the connections; who sends again opens new ones."""
        if self._redis is not None:
            self._redis.close()
        wire, self._wire = self._wire, None
        if wire is not None and wire.pid == os.getpid():
            wire.close()


class AsyncPublisher:
    """The same for asyncio, as far as its clients need it; one per event loop."""

    def __init__(self, settings: Settings, broker_url: str) -> None:
        self._blocking = Publisher(settings, broker_url)
        server = RedisServer.of(broker_url, settings)
        self._redis = None if is_amqp(server.celery_url) else AsyncRedisQueues(server)

    async def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> bool:
        """As `Publisher.dispatch`."""
        if self._redis is not None:
            return await self._redis.dispatch(lane, request_ids)
        # Celery has no asyncio producer; a thread keeps the loop free.
        return await asyncio.to_thread(self._blocking.dispatch, lane, request_ids)

    async def republish(self, message: DeadMessage) -> None:
        """As `Publisher.republish`."""
        await asyncio.to_thread(self._blocking.republish, message)

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.close()
        await asyncio.to_thread(self._blocking.close)


@dataclass(frozen=True, slots=True)
class _Wire:
    """One process's way to the broker.

    The pool is our own. Celery's is kombu's, of the whole process and of its forks: by the address,
    a child would get its parent's connections back.
    """

    app: Celery
    producers: ProducerPool
    pid: int

    @classmethod
    def to(cls, options: dict[str, Any]) -> Self:
        app = Celery("stopline-producer", set_as_current=False)
        app.conf.update(options)
        connections = app.connection_for_write().Pool(limit=_CONNECTIONS_MAX)
        producers = ProducerPool(connections, limit=_CONNECTIONS_MAX, Producer=app.amqp.Producer)
        return cls(app, producers, os.getpid())

    def producer(self) -> Any:
        """A producer for one message, as a context; waits a while where all are in use."""
        return self.producers.acquire(block=True, timeout=_ACQUIRE_TIMEOUT_S)

    def close(self) -> None:
        self.producers.force_close_all()
        self.producers.connections.force_close_all()
        self.app.close()


_left_to_parents: Final[list[_Wire]] = []
"""What a child got from its parent: kept, since who collects a connection closes it."""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of the broker's client into Stopline's."""
    try:
        yield
    except _BROKER_ERRORS as error:
        raise UnavailableError(
            f"The broker cannot be reached, or refuses: {type(error).__name__}. Is "
            "STOPLINE_BROKER_URL right, with its user and password, and the broker up?"
        ) from error


def _is_declarable(connection: Any, queue: Queue) -> bool:
    channel = connection.channel()
    try:
        queue(channel).queue_declare()
    except connection.channel_errors:
        return False
    channel.close()
    return True


def _depth(connection: Any, queue: str) -> int | None:
    """A passive look: declaring it would make a queue of another kind than workers make."""
    channel = connection.channel()
    try:
        depth = int(channel.queue_declare(queue=queue, passive=True).message_count)
    except connection.channel_errors:  # there is none; AMQP closes the channel with this answer
        return None
    channel.close()
    return depth
