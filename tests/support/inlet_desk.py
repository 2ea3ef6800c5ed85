"""An inlet on a real ledger, with doubles around it: a broker's side, Celery's, the engines'."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from celery.worker import state

from stopline.contract import STOP_TASK
from stopline.ledger import Ledger, commands, queries
from stopline.ledger.limits import Limits
from stopline_worker.intake.deliveries import Delivery
from stopline_worker.intake.inlet import Inlet
from tests.support.transports import Keeper, Timer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline_worker.intake.envelope import TaskMessage

QUEUE = "stopline.default"


class Runtime:
    """What the inlet needs of a process."""

    def __init__(self, ledger: Ledger) -> None:
        self.limits = Limits()
        self._ledger = ledger
        self.error: Exception | None = None
        self.asked = 0
        self.inbox = self
        self.handed: list[str] = []

    @property
    def ledger(self) -> Runtime:
        return self

    def run(self, command: Any) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self._ledger.run(command)

    def put(self, request_ids: list[str]) -> bool:
        self.handed += request_ids
        return True

    def report(self, documents: Sequence[tuple[str, bytes]]) -> tuple[bool, ...]:
        return self._ledger.run(commands.report(self.limits, documents))


class Source:
    """A broker's side."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.rounds = 0
        self.returned: list[str] = []
        self.put_off_for: dict[str, float] = {}

    def acknowledge(self, tags: Sequence[str]) -> None:
        self.rounds += 1
        self.acknowledged += tags

    def give_back(self, tags: Sequence[str]) -> None:
        self.returned += tags

    def put_off(self, tag: str, delay_s: float) -> None:
        self.put_off_for[tag] = delay_s


class View:
    """What Celery is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.errors: list[Exception] = []
        self.held: set[str] = set()

    def is_revoked(self, task_id: str) -> bool:
        return task_id in state.revoked

    def received(self, message: TaskMessage) -> None:
        self.told.append(("received", message.id))

    def succeeded(self, message: TaskMessage, _since: float) -> None:
        self.told.append(("succeeded", message.id))

    def failed(self, message: TaskMessage, error: Exception) -> None:
        self.told.append(("failed", message.id))
        self.errors.append(error)

    def revoked(self, message: TaskMessage) -> None:
        self.told.append(("revoked", message.id))

    def hold(self, message: TaskMessage, _queue: str) -> None:
        self.held.add(message.id)

    def release(self, message: TaskMessage) -> None:
        self.held.discard(message.id)


class Desk:
    """An inlet with doubles around it, on a real ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.runtime, self.source = Runtime(ledger), Source()
        self.view, self.timer, self.keeper = View(), Timer(), Keeper()
        self.inlet = Inlet(self.runtime, self.keeper, self.view, self.timer)  # type: ignore[arg-type]  # doubles

    def take(
        self, message_id: str, /, *, task: str = STOP_TASK, args: Any = (), **fields: Any
    ) -> None:
        self.take_with({}, message_id, task=task, args=args, **fields)

    def take_with(
        self,
        headers: dict[str, Any],
        message_id: str,
        /,
        *,
        task: str = STOP_TASK,
        args: Any = (),
        queue: str = QUEUE,
        **fields: Any,
    ) -> None:
        body = json.dumps([list(args), fields, {}]).encode()
        given = {"task": task, "id": message_id, **headers}
        self.inlet.take(Delivery(self.source, message_id, queue, body, given, "application/json"))

    def progress(self, task_id: str) -> queries.Progress | Any:
        return self.runtime._ledger.run(queries.progress(task_id))
