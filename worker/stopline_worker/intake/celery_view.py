"""What Celery's own tools see of the messages: events, counts, `inspect`, `revoke`.

The consumer does the work, and no task runs. So what Celery's tasks would tell is told here, where
somebody listens: to Flower and celery-exporter (events, with `-E` or `control enable_events`), to
`inspect reserved`, `query_task` and `stats`. Results are in `celery_results.py`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from celery.worker import state

if TYPE_CHECKING:
    from stopline_worker.intake.envelope import TaskMessage

_log = logging.getLogger(__name__)


class Held:
    """A message that waits in this worker, as `inspect reserved` and `query_task` show it."""

    def __init__(self, message: TaskMessage, queue: str, hostname: str) -> None:
        self.id = message.id
        self._message = message
        self._queue = queue
        self._hostname = hostname

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: ARG002  # Celery's signature
        """As `celery.worker.request.Request.info`."""
        about = self._message.about
        return {
            "id": self.id,
            "name": self._message.task,
            "type": self._message.task,
            "args": about["args"],
            "kwargs": about["kwargs"],
            "hostname": self._hostname,
            "time_start": None,
            "acknowledged": False,
            "delivery_info": {"exchange": "", "routing_key": self._queue, "priority": None},
            "worker_pid": None,
        }


class CeleryView:
    """Tells Celery of messages."""

    def __init__(self) -> None:
        self._consumer: Any = None
        self._held: dict[str, Held] = {}

    def of(self, consumer: Any) -> None:
        """The consumer whose worker this is, once Celery has made it."""
        self._consumer = consumer

    def is_revoked(self, task_id: str) -> bool:
        """Whether somebody revoked it."""
        return task_id in state.revoked

    def _send(self, kind: str, message: TaskMessage, **fields: Any) -> None:
        dispatcher = getattr(self._consumer, "event_dispatcher", None)
        if dispatcher is None or not dispatcher.enabled:
            return
        try:
            dispatcher.send(kind, uuid=message.id, **fields)
        except Exception as error:  # noqa: BLE001  # the message does not depend on who listens
            _log.debug("event not sent: %r", error, extra={"action": "event_failed"})

    def received(self, message: TaskMessage) -> None:
        """A message came."""
        state.total_count[message.task] += 1
        state.all_total_count[0] += 1
        eta, expires = message.eta, message.expires
        self._send(
            "task-received",
            message,
            name=message.task,
            eta=eta and eta.isoformat(),
            expires=expires and expires.isoformat(),
            **message.about,
        )
        self._send("task-started", message)

    def succeeded(self, message: TaskMessage, since: float) -> None:
        """It was done; `since` is when it came, by the monotonic clock."""
        self._send("task-succeeded", message, result="None", runtime=time.monotonic() - since)

    def failed(self, message: TaskMessage, error: Exception) -> None:
        """It can never be done."""
        self._send("task-failed", message, exception=repr(error), traceback=None)

    def revoked(self, message: TaskMessage) -> None:
        """It was revoked before anything became of it."""
        self._send("task-revoked", message, terminated=False, signum=None, expired=False)

    def hold(self, message: TaskMessage, queue: str) -> None:
        """It waits here."""
        held = self._held.get(message.id)
        if held is None:
            hostname = getattr(self._consumer, "hostname", "")
            held = self._held[message.id] = Held(message, queue, hostname)
        state.task_reserved(held)  # Celery forgets them when it lost its connection

    def release(self, message: TaskMessage) -> None:
        """It waits no more."""
        held = self._held.pop(message.id, None)
        if held is not None:
            state.requests.pop(held.id, None)
            state.reserved_requests.discard(held)
