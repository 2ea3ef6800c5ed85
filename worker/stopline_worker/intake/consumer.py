"""The consumer: Celery's own, except for what it deletes, and for what senders may decide.

Stock Celery deletes undecodable, unknown and invalid messages with a log line.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from celery.exceptions import NotRegistered, TaskRevokedError
from celery.worker.consumer import Consumer

from stopline.contract import DISPATCH_TASK, STOP_TASK
from stopline_worker.intake import envelope
from stopline_worker.intake.envelope import MalformedError
from stopline_worker.intake.quarantine import junk_of_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery.worker.request import Request
    from kombu.message import Message

    from stopline_worker.intake.quarantine import Quarantine
    from stopline_worker.process.runtime import Runtime

_log = logging.getLogger(__name__)
_OURS: Final = frozenset({DISPATCH_TASK, STOP_TASK})
_AWAY_S: Final = 1.0


def consumer_class(runtime: Runtime, quarantine: Quarantine) -> type[QuarantiningConsumer]:
    """The class for Celery's `worker_consumer`, with what its objects work with."""
    given = {"runtime": runtime, "quarantine": quarantine}
    return type(QuarantiningConsumer.__name__, (QuarantiningConsumer,), given)


class QuarantiningConsumer(Consumer):  # type: ignore[misc]  # Celery ships no types
    """Celery's consumer, except that it keeps what the stock one deletes (`worker_consumer`).

    It also looks at what a sender may decide before Celery acts on it, comes back sooner after a
    broker was away, and tells the engines which lanes are consumed.

    Celery makes it: `consumer_class` gives it what it needs.
    """

    runtime: ClassVar[Runtime]
    quarantine: ClassVar[Quarantine]

    def __init__(
        self, on_task_request: Callable[[Request], Any], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(self._guarded(on_task_request), *args, **kwargs)

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
        self.runtime.lanes.serve(self.app.amqp.queues.consume_from)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Look at each message before Celery acts on it, and catch what Celery chokes on."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Message) -> None:
            try:
                self._clean(message)
                if message.headers["task"] in _OURS:
                    handle(message)
                else:  # Celery's own are open to anybody, too, and one of them runs for ever
                    self.on_unknown_task(None, message, KeyError(message.headers["task"]))
            except MalformedError as error:
                self._quarantine(message, str(error))
            except self.connection_errors:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it raises, the message is kept
                # Stock Celery would end the worker here, and the next one at the same message.
                _log.exception("message not understood", extra={"action": "message_failed"})
                self._quarantine(message, f"cannot be handled: {type(error).__name__}: {error}")

        return on_task_received

    @staticmethod
    def _clean(message: Message) -> None:
        """Leave of a message what counts; raises `MalformedError`, and then it is as it came."""
        headers = envelope.task_headers(message.headers)
        body = envelope.task_body(message.body, message.content_type, message.content_encoding)
        message.headers, message.body = headers, body
        message.properties = {"correlation_id": headers["id"]}

    def _guarded(self, on_task_request: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """Hand requests to the pool so that Celery gets the pool's room back whatever happens.

        It takes room before it asks the pool to work, and gives it back for one exception only,
        that of a revoked task. For any other the room is gone, and after a few such messages the
        worker looks busy for ever.
        """

        def on_request(request: Request) -> Any:
            execute = request.execute_using_pool

            def execute_using_pool(pool: Any, **kwargs: Any) -> Any:
                try:
                    return execute(pool, **kwargs)
                except TaskRevokedError:
                    raise
                except Exception as error:
                    _log.exception("request not executed", extra={"action": "message_failed"})
                    self._quarantine(
                        request.message, f"cannot be executed: {type(error).__name__}: {error}"
                    )
                    raise TaskRevokedError(request.id) from error

            request.execute_using_pool = execute_using_pool
            return on_task_request(request)

        return on_request

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """A body that cannot be decoded, or of a content type that is not accepted."""
        reason = str(exc) if isinstance(exc, MalformedError) else f"{type(exc).__name__}: {exc}"
        self._quarantine(message, f"cannot be decoded: {reason}")

    def on_unknown_message(self, body: object, message: Message) -> None:  # noqa: ARG002  # Celery's signature
        """A message that is no Celery task."""
        self._quarantine(message, "is no Celery task message")

    def on_unknown_task(self, body: object, message: Message, exc: Exception) -> None:  # noqa: ARG002  # Celery's signature
        """A task that this worker does not have: its sender is told, as Celery would tell it."""
        self._quarantine(message, f"unknown task {exc}")
        task_id, name = message.headers["id"], message.headers["task"]
        if self.runtime.knows(task_id):
            return  # the id of a request: its outcome stands there, or will
        request = SimpleNamespace(
            name=name,
            chord=None,
            root_id=None,
            correlation_id=task_id,
            reply_to=None,
            errbacks=None,
        )
        try:
            self.app.backend.mark_as_failure(task_id, NotRegistered(name), request=request)
        except Exception as error:  # noqa: BLE001  # the message is kept, whatever becomes of this
            _log.warning("sender not told: %r", error, extra={"action": "result_failed"})

    def on_invalid_task(self, body: object, message: Message, exc: Exception) -> None:  # noqa: ARG002  # Celery's signature
        """A task message whose parts do not fit together."""
        self._quarantine(message, f"invalid task: {type(exc).__name__}: {exc}")

    def _quarantine(self, message: Message, reason: str) -> None:
        if self.quarantine.keep(junk_of_message(message, reason)):
            message.ack_log_error(_log, self.connection_errors)
        else:
            # Not to spin while the ledger is away and the broker is not.
            time.sleep(_AWAY_S)
            message.reject_log_error(_log, self.connection_errors, requeue=True)
