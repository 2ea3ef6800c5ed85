"""Messages that a kombu channel delivered: those of RabbitMQ, and of queues that are no lanes."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from stopline.dispatch.broker import LATER_S, SOCKET_TIMEOUT_S, later_queue
from stopline_worker.intake.deliveries import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celery import Celery
    from kombu.message import Message

    from stopline_worker.intake.inlet import Inlet
    from stopline_worker.intake.loop_timer import LoopTimer

_log = logging.getLogger(__name__)
_KEPT_S: Final = 600.0
"""RabbitMQ closes a channel that keeps a message for half an hour (`consumer_timeout`)."""
_LOOK_S: Final = 10.0
_SENT_MAX: Final = 200
"""Messages that are sent away at a look: the loop waits for each to be confirmed."""
_LEAST_S: Final = 0.5


class ChannelMessages:
    """The source of what one connection delivered: with it, all that is unacknowledged goes back.

    Args:
        app: for a connection to send on.
        inlet: where messages go.
        timer: of the consumer's loop.
        queue_of: which queue a message was on.
        connection_errors: what kombu raises where the connection is gone.
    """

    def __init__(
        self,
        app: Celery,
        inlet: Inlet,
        timer: LoopTimer,
        queue_of: Callable[[Message], str],
        connection_errors: tuple[type[Exception], ...],
    ) -> None:
        self._app = app
        self._inlet = inlet
        self._timer = timer
        self._queue_of = queue_of
        self._errors = connection_errors
        self._kept: dict[Message, float] = {}
        self._leaving: dict[Message, None] = {}
        self._is_gone = False
        timer.after(_LOOK_S, self._look)

    def gone(self) -> None:
        """The connection is closed: the broker has all that was not acknowledged."""
        self._is_gone = True
        self._kept.clear()
        self._inlet.drop(self)

    def delivery(self, message: Message) -> Delivery:
        """A message of its connection."""
        self._kept.setdefault(message, time.monotonic())
        return Delivery(
            self,
            message,
            self._queue_of(message),
            message.body or b"",
            message.headers,
            message.content_type,
            message.content_encoding,
        )

    def acknowledge(self, tags: Sequence[Any]) -> None:
        """They are done with."""
        for message in tags:
            self._forget(message)
            if not message.acknowledged:
                message.ack_log_error(_log, self._errors)

    def give_back(self, tags: Sequence[Any]) -> None:
        """Whoever is next gets them."""
        for message in tags:
            self._forget(message)
            if not message.acknowledged:
                message.reject_log_error(_log, self._errors, requeue=True)

    def _forget(self, message: Message) -> None:
        self._kept.pop(message, None)
        self._leaving.pop(message, None)

    def put_off(self, tag: Any, delay_s: float) -> None:
        """Take it again after so many seconds.

        For long it must not be here: what this worker has not acknowledged keeps others away.
        """
        if delay_s > 2 * LATER_S:
            self._leaving[tag] = None
        else:
            self._timer.after(max(_LEAST_S, delay_s), lambda: self._take_again(tag))

    def _take_again(self, message: Message) -> None:
        if not self._is_gone and message in self._kept:
            self._inlet.take(self.delivery(message))
            self._inlet.end_of_round()

    def _look(self) -> None:
        """Send away what is for later, and what was kept for long, as while the ledger is away."""
        if self._is_gone:
            return
        before = time.monotonic() - _KEPT_S
        old = [one for one, since in self._kept.items() if since < before]
        self._send_away([*self._leaving, *old][:_SENT_MAX])
        self._timer.after(_LOOK_S, self._look)

    def _send_away(self, messages: list[Message]) -> None:
        """Have RabbitMQ deliver them again, later. To give them back would count as failures."""
        if not messages:
            return
        try:
            # Not on the consumer's channel: who waits there for a confirmation swallows its errors.
            with self._app.connection_for_write() as connection, connection.Producer() as producer:
                for message in messages:
                    self._send_one_away(producer, message)
        except Exception as error:  # noqa: BLE001  # whatever a broker's client raises: at the next look
            _log.warning("messages not put off: %r", error, extra={"action": "put_off_failed"})

    def _send_one_away(self, producer: Any, message: Message) -> None:
        queue = later_queue(self._queue_of(message))
        producer.publish(
            message.body,
            exchange="",
            routing_key=queue.name,
            declare=[queue],
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers=_of_its_sender(message.headers),
            timeout=SOCKET_TIMEOUT_S,
            confirm_timeout=SOCKET_TIMEOUT_S,
        )
        self._inlet.drop(self, message)
        self.acknowledge([message])


def _of_its_sender(headers: Any) -> Any:
    """Without what RabbitMQ says of former deliveries."""
    if not isinstance(headers, dict):
        return headers
    return {name: one for name, one in headers.items() if not name.startswith("x-")}
