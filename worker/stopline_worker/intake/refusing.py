"""What no worker can handle: it is kept in quarantine, and its sender is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from stopline.contract import STOP_TASK, junk_of
from stopline.errors import InvalidRequestError
from stopline_worker.intake.celery_results import failure, revocation
from stopline_worker.intake.envelope import TaskMessage
from stopline_worker.intake.quarantine import junk_of_delivery

if TYPE_CHECKING:
    from stopline.contract import Junk
    from stopline_worker.intake.acknowledging import Acknowledging
    from stopline_worker.intake.celery_view import CeleryView
    from stopline_worker.intake.deliveries import Delivery
    from stopline_worker.intake.quarantine import Quarantine
    from stopline_worker.process.runtime import Runtime

_QUIET_S: Final = 1.0
_ID_CHARACTERS_MAX: Final = 255


class Refusing:
    """Keeps messages, and acknowledges those that are kept; the others come again."""

    def __init__(
        self,
        runtime: Runtime,
        quarantine: Quarantine,
        view: CeleryView,
        acknowledging: Acknowledging,
    ) -> None:
        self._runtime = runtime
        self._quarantine = quarantine
        self._view = view
        self._acknowledging = acknowledging
        self._quiet_until = 0.0
        self._untold: dict[str, tuple[TaskMessage, Exception | None]] = {}

    def refuse(
        self, delivery: Delivery, message: TaskMessage, error: Exception, reason: str | None = None
    ) -> None:
        """A task message that can never be done: who looks for its result gets the error."""
        if self.keep(delivery, reason or str(error)):
            self._untold[message.id] = (message, error)

    def refuse_unread(self, delivery: Delivery, reason: str) -> None:
        """The same of what cannot be read, as far as it says whose it is."""
        match delivery.headers:
            case {"task": str(task), "id": str(task_id)} if task == STOP_TASK and task_id:
                message = TaskMessage(task, task_id[:_ID_CHARACTERS_MAX], [], {}, None, None, {})
                self.refuse(delivery, message, InvalidRequestError(reason), reason)
            case _:
                self.keep(delivery, reason)

    def revoke(self, delivery: Delivery, message: TaskMessage) -> None:
        """A message that somebody revoked before it was accepted."""
        self._acknowledging.add(delivery)
        self._untold[message.id] = (message, None)

    def flush(self) -> None:
        """Tell the senders, when all that came together is accepted.

        An id may be that of a request, which has an outcome, or will have: that stands.
        """
        if not self._untold:
            return
        untold, self._untold = self._untold, {}
        documents = [
            (task_id, failure(task_id, error) if error else revocation(task_id))
            for task_id, (_, error) in untold.items()
        ]
        written = self._runtime.report(documents)
        for (message, error), is_written in zip(untold.values(), written, strict=True):
            if error is None:
                self._view.revoked(message)
            elif is_written:
                self._view.failed(message, error)

    def keep(self, delivery: Delivery, reason: str) -> bool:
        """Keep a message; whether the ledger could take it."""
        if self._keep(junk_of_delivery(delivery, reason)):
            self._acknowledging.add(delivery)
            return True
        self._acknowledging.put_off_a_moment(delivery)
        return False

    def _keep(self, junk: Junk) -> bool:
        """While the ledger is away, it is asked once a second: each time may take seconds."""
        if time.monotonic() < self._quiet_until:
            return False
        is_kept = self._quarantine.keep(junk)
        if not is_kept:
            self._quiet_until = time.monotonic() + _QUIET_S
        return is_kept

    def keep_entry(self, queue: str, entry: bytes, reason: str) -> bool:
        """Keep an entry of a queue that is no message; whether the ledger could take it."""
        return self._keep(junk_of(entry, reason, queue=queue, truncated=True))
