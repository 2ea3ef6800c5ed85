"""Dispatch messages: they tell workers at once what the ledger has accepted.

A message carries request ids and nothing else. One that is lost costs seconds, not a stop: the
ledger's `due` index brings every request back (docs/semantics.md).
"""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from stopline.broker import broker_options
from stopline.contract import DISPATCH_TASK, MESSAGE_IDS_MAX, DeadMessage, Lane
from stopline.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.settings import Settings

_log = logging.getLogger(__name__)
_BROKER_ERRORS = (KombuError, OperationalError, RedisError, OSError, TimeoutError)
# Two quick tries: a message is worth less than its sender's time.
_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


class Publisher:
    """Puts messages on the lanes' queues. Safe to share between threads."""

    def __init__(self, settings: Settings, broker_url: str) -> None:
        self._app = Celery("stopline-producer", set_as_current=False)
        self._app.conf.update(broker_options(settings, broker_url))

    def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> bool:
        """Send ids to a lane, at most `MESSAGE_IDS_MAX` a message.

        Returns:
            Whether the broker took them all. If not, a sweep finds them when they are due, so this
            is logged, not raised.
        """
        try:
            for first in range(0, len(request_ids), MESSAGE_IDS_MAX):
                self._send(lane, list(request_ids[first : first + MESSAGE_IDS_MAX]))
        except _BROKER_ERRORS as error:
            _log.warning(
                "dispatch message not sent; the requests are safe and will be swept",
                extra={
                    "action": "dispatch_failed",
                    "lane": lane.value,
                    "requests": len(request_ids),
                    "error": type(error).__name__,
                },
            )
            return False
        return True

    def _send(self, lane: Lane, request_ids: list[str]) -> None:
        self._app.send_task(
            DISPATCH_TASK,
            args=(request_ids,),
            queue=lane.queue,
            retry=True,
            retry_policy=_RETRY_POLICY,
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
        try:
            with self._app.producer_pool.acquire(block=True) as producer:
                producer.publish(
                    body,
                    routing_key=message.queue,
                    exchange="",
                    content_type=message.content_type,
                    content_encoding=message.content_encoding,
                    headers=message.headers,
                    retry=True,
                    retry_policy=_RETRY_POLICY,
                )
        except _BROKER_ERRORS as error:
            raise UnavailableError(
                f"The broker cannot be reached: {type(error).__name__}. Is STOPLINE_BROKER_URL "
                "right, and the broker up?"
            ) from error

    def depths(self) -> dict[Lane, int]:
        """How many messages wait on each lane's queue.

        Raises:
            UnavailableError: the broker cannot be reached.
        """
        try:
            with self._app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
                channel = connection.default_channel
                return {lane: _depth(channel, lane.queue) for lane in Lane}
        except _BROKER_ERRORS as error:
            raise UnavailableError(
                f"The broker cannot be reached: {type(error).__name__}. Is STOPLINE_BROKER_URL "
                "right, and the broker up?"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._app.close()


def _depth(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue=queue, passive=False).message_count)
