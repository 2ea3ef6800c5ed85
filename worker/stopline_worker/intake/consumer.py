"""The consumer: Celery's own, except that it does the work itself.

Celery gives each message to a process of its pool, and deletes what it does not understand. Here
messages go to the inlet, and the pool's processes have engines only.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from amqp.exceptions import PreconditionFailed, RecoverableConnectionError
from celery.worker.consumer import Consumer

from stopline.contract import MESSAGE_IDS_MAX
from stopline_worker.intake.channel_messages import ChannelMessages

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu.message import Message

    from stopline_worker.intake.celery_view import CeleryView
    from stopline_worker.intake.inlet import Inlet
    from stopline_worker.intake.loop_timer import LoopTimer
    from stopline_worker.process.served_lanes import ServedLanes

_LOOK_S: Final = 5.0
_REFUSED_S: Final = 5.0
_PREFETCH_MAX: Final = 1000
_log = logging.getLogger(__name__)


def consumer_class(
    inlet: Inlet, view: CeleryView, timer: LoopTimer, lanes: ServedLanes
) -> type[StoplineConsumer]:
    """The class for Celery's `worker_consumer`, with what its objects work with."""
    given = {"inlet": inlet, "view": view, "loop_timer": timer, "lanes": lanes}
    return type(StoplineConsumer.__name__, (StoplineConsumer,), given)


class StoplineConsumer(Consumer):  # type: ignore[misc]  # Celery ships no types
    """Celery's consumer, with our inlet for its messages (`worker_consumer`).

    It also comes back sooner after a broker was away, and tells the engines which lanes are
    consumed. Celery makes it: `consumer_class` gives it what it needs.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]  # Celery ships no types
        """Celery's steps, but for what delays messages by queues of Celery's own in RabbitMQ."""

        default_steps: ClassVar[list[str]] = [
            step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step
        ]

    inlet: ClassVar[Inlet]
    view: ClassVar[CeleryView]
    loop_timer: ClassVar[LoopTimer]
    lanes: ClassVar[ServedLanes]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._source: ChannelMessages | None = None
        # It is for each queue, and RabbitMQ counts all of them as failed when a worker dies.
        prefetch = min(kwargs.pop("initial_prefetch_count", 0), _PREFETCH_MAX)
        super().__init__(*args, initial_prefetch_count=prefetch, **kwargs)
        self.view.of(self)
        self.loop_timer.wind(self.timer)

    # --- messages -----------------------------------------------------------------------------

    def create_task_handler(self, *_: Any, **__: Any) -> Callable[[Message], None]:
        """What kombu's channels give messages to; lanes in Redis have a way of their own."""
        source = self._source = ChannelMessages(
            self.app, self.inlet, self.loop_timer, self._queue_of, self.connection_errors
        )
        gathered: list[Message] = []

        def on_message(message: Message) -> None:
            gathered.append(message)
            if len(gathered) == 1:
                self.call_soon(finish_round)

        def finish_round() -> None:
            is_empty = self._gather_more(gathered)
            messages, gathered[:] = gathered[:], []
            for one in messages:
                self.inlet.take(source.delivery(one))
            self.inlet.end_of_round()
            if not is_empty:  # TLS may have more that the loop does not see
                self.call_soon(finish_round)

        self.loop_timer.after(_LOOK_S, partial(self._look_at_consumers, source))
        return on_message

    def _gather_more(self, gathered: list[Message]) -> bool:
        """Read the messages that have arrived behind the first: their costs are per round.

        Returns:
            Whether there are no more.
        """
        if self.connection is None or self.connection.transport.driver_type == "redis":
            return True
        try:
            while len(gathered) < MESSAGE_IDS_MAX:
                self.connection.drain_events(timeout=0)
        except TimeoutError:
            return True
        return False

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """What kombu could not make a message of, such as a compressed one: Celery deletes it."""
        if self._source is not None:
            self.inlet.keep(self._source.delivery(message), f"cannot be decoded: {exc}")

    def _queue_of(self, message: Message) -> str:
        """Where it was, whatever exchange and routing key its sender used.

        Of kombu's consumer there is no public way to learn which tag is which queue's.
        """
        info = message.delivery_info or {}
        tags = self.task_consumer._active_tags if self.task_consumer else {}  # noqa: SLF001  # see above
        queues = {tag: queue for queue, tag in tags.items()}
        return queues.get(info.get("consumer_tag")) or info.get("routing_key") or ""

    def _look_at_consumers(self, source: ChannelMessages) -> None:
        """Connect anew where RabbitMQ took a consumer away, and nobody noticed.

        py-amqp opens a closed channel again, without its consumers; and an error that tells of it
        may be swallowed by whoever read it (`celery.worker.loops._quick_drain`).
        """
        consumer, connection = self.task_consumer, self.connection
        if source is not self._source or consumer is None or connection is None:
            return  # another connection has a look of its own
        if connection.transport.driver_type != "amqp":
            return
        wanted = sum(consumer.consuming_from(queue.name) for queue in consumer.queues)
        if len(consumer.channel.callbacks) < wanted:
            self.call_soon(_raise, RecoverableConnectionError("a consumer is gone"))
        else:
            self.loop_timer.after(_LOOK_S, partial(self._look_at_consumers, source))

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Where RabbitMQ has a queue of another kind, say what to do, and do not ask in circles."""
        if isinstance(exc, PreconditionFailed):
            _log.error(
                "RabbitMQ refuses: %s. Is a lane's queue of another kind? See 'stopline doctor'",
                exc,
                extra={"action": "queue_refused"},
            )
            time.sleep(_REFUSED_S)
        super().on_connection_error_after_connected(exc)

    def on_close(self) -> None:
        """The connection is gone, and with it what it delivered."""
        super().on_close()
        if self._source is not None:
            self._source.gone()

    def stop(self) -> None:
        """The worker ends."""
        super().stop()
        self.inlet.close()

    # --- connections and lanes ----------------------------------------------------------------

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, with two seconds between attempts at the most.

        Celery lets them grow to thirty, and has no setting for it
        (`kombu.Connection.ensure_connection`).
        """
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=0.5, interval_step=0.5, interval_max=2.0
        )
        return super().ensure_connected(conn)

    def add_task_queue(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """Begin to consume (`celery control add_consumer`)."""
        added = super().add_task_queue(queue, *args, **kwargs)
        self._tell_engines()
        return added

    def cancel_task_queue(self, queue: str) -> Any:
        """Consume no more (`celery control cancel_consumer`)."""
        cancelled = super().cancel_task_queue(queue)
        self._tell_engines()
        return cancelled

    def _tell_engines(self) -> None:
        self.lanes.serve(self.app.amqp.queues.consume_from)


def _raise(error: Exception) -> NoReturn:
    raise error
