"""The two Celery tasks: a few lines each, because the engine does the work."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

from celery.exceptions import Ignore, Reject

from stopline.contract import (
    DISPATCH_TASK,
    MESSAGE_IDS_MAX,
    STOP_TASK,
    Refusal,
    StopRequest,
    is_identifier,
)
from stopline.errors import IdempotencyConflictError, InvalidRequestError
from stopline.ledger import commands
from stopline.ledger.values import Accepted, Submission
from stopline_worker.intake.quarantine import junk_of

if TYPE_CHECKING:
    from celery import Celery, Task

    from stopline_worker.intake.quarantine import Quarantine
    from stopline_worker.process.runtime import Runtime

_log = logging.getLogger(__name__)
_AWAY_S: Final = 1.0


def register(app: Celery, runtime: Runtime, quarantine: Quarantine) -> None:
    """Add the tasks to an app."""
    work = _Work(runtime, quarantine)

    # Acknowledged when it begins: the ledger brings back what a crash interrupts.
    @app.task(name=DISPATCH_TASK, bind=True, acks_late=False)  # type: ignore[untyped-decorator]  # Celery ships no types
    def dispatch(task: Task, /, *args: Any, **kwargs: Any) -> None:
        work.dispatch(task, args, kwargs)

    # Acknowledged when the ledger has it: before that, the message is all there is.
    @app.task(  # type: ignore[untyped-decorator]  # Celery ships no types
        name=STOP_TASK,
        bind=True,
        typing=False,  # wrong arguments reach our own checks, whose errors name the field
        acks_late=True,
        reject_on_worker_lost=True,
        throws=(InvalidRequestError,),
    )
    def stop(task: Task, /, *args: Any, **fields: Any) -> None:
        work.stop(task, args, fields)


class _Work:
    """What the tasks do."""

    def __init__(self, runtime: Runtime, quarantine: Quarantine) -> None:
        self._runtime = runtime
        self._quarantine = quarantine

    def dispatch(self, task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hand ids to the engine; returns once they are claimed."""
        match args:
            case [list() as request_ids] if not kwargs and _are_ids(request_ids):
                self._submit(request_ids)
            case _:
                self._keep(task, f"{DISPATCH_TASK} takes one list of at most {MESSAGE_IDS_MAX} ids")

    def _submit(self, request_ids: list[str]) -> None:
        try:
            self._runtime.engine.submit(request_ids)
        except Exception as error:  # noqa: BLE001  # the ledger has them: any engine's sweep will do
            _log.warning("ids left to the sweep: %r", error, extra={"action": "dispatch_failed"})

    def stop(self, task: Task, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        """Accept a request under its Celery task id, then hand it to the engine."""
        try:
            accepted = self._accept(_parse(task.request.id, args, fields))
        except InvalidRequestError as error:
            self._keep(task, str(error))
            known = self._runtime.knows
            if isinstance(error, IdempotencyConflictError) and known(task.request.id):
                raise Ignore from error  # it is the id of another's request, whose outcome it has
            raise  # so that the sender's AsyncResult.get() raises it too
        except Exception as error:  # noqa: BLE001
            # Whatever it is, the message is all there is of this request: it stays.
            _log.warning("request back to its queue: %r", error, extra={"action": "stop_requeued"})
            _requeue(error)
        if accepted.dispatch:
            self._submit([accepted.receipt.request_id])

    def _accept(self, request: StopRequest) -> Accepted:
        submission = Submission(request, alias=True)
        command = commands.accept(self._runtime.limits, [submission], expire_late=True)
        (reply,) = self._runtime.engine.run(command)
        if isinstance(reply, Refusal):
            raise reply.as_error()
        return reply

    def _keep(self, task: Task, reason: str) -> None:
        request = task.request
        # Not orjson: it refuses lone surrogates and large integers, which JSON may hold.
        body = json.dumps([request.args, request.kwargs, {}], default=repr).encode()
        kept = self._quarantine.keep(
            junk_of(
                body,
                reason,
                queue=(request.delivery_info or {}).get("routing_key"),
                content_type="application/json",
                content_encoding="utf-8",
                headers={"task": task.name, "id": request.id, "lang": "py", "argsrepr": ""},
            )
        )
        if not kept and task.acks_late:
            _requeue(InvalidRequestError(reason))


def _are_ids(values: list[object]) -> bool:
    return len(values) <= MESSAGE_IDS_MAX and all(is_identifier(one) for one in values)


def _requeue(error: Exception) -> NoReturn:
    time.sleep(_AWAY_S)  # not to spin while the ledger is away and the broker is not
    raise Reject(type(error).__name__, requeue=True) from error


def _parse(task_id: str, args: tuple[Any, ...], fields: dict[str, Any]) -> StopRequest:
    if args:
        raise InvalidRequestError(f"{STOP_TASK} takes named fields only (kwargs)")
    if fields.get("request_id", task_id) != task_id:
        raise InvalidRequestError(
            "request_id: the Celery task id is the request's id; leave this field out",
            field="request_id",
        )
    return StopRequest.parse({**fields, "request_id": task_id})
