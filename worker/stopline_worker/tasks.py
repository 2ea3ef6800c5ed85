"""The two Celery tasks: a few lines each, because the engine does the work."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import orjson
from celery.exceptions import Reject

from stopline.contract import (
    DISPATCH_TASK,
    MESSAGE_IDS_MAX,
    STOP_TASK,
    StopRequest,
    is_identifier,
)
from stopline.errors import InvalidRequestError, LedgerFullError, StoplineError, UnavailableError
from stopline.ledger import commands
from stopline.ledger.commands import Accepted, Submission
from stopline.verbs import refused
from stopline_worker.quarantine import keep
from stopline_worker.runtime import runtime

if TYPE_CHECKING:
    from celery import Celery, Task

_log = logging.getLogger(__name__)
_AWAY_S: Final = 1.0


def register(app: Celery) -> None:
    """Add the tasks to an app."""
    # Acknowledged when it begins: the ledger brings back what a crash interrupts.
    app.task(name=DISPATCH_TASK, bind=True, acks_late=False)(_dispatch)
    # Acknowledged when the ledger has it: before that, the message is all there is.
    app.task(
        name=STOP_TASK,
        bind=True,
        typing=False,  # wrong arguments reach our own checks, whose errors name the field
        acks_late=True,
        reject_on_worker_lost=True,
        throws=(InvalidRequestError,),
    )(_stop)


def _dispatch(task: Task, request_ids: Any, /) -> None:
    """Hand ids to the engine; returns once they are claimed."""
    if not _are_ids(request_ids):
        return _keep(task, f"{DISPATCH_TASK} takes one list of at most {MESSAGE_IDS_MAX} ids")
    try:
        runtime.engine.submit(request_ids)
    except UnavailableError as error:
        _log.warning("ids left to the sweep: %s", error, extra={"action": "dispatch_failed"})


def _are_ids(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MESSAGE_IDS_MAX
        and all(is_identifier(one) for one in value)
    )


def _stop(task: Task, /, *args: Any, **fields: Any) -> None:
    """Accept a request under its Celery task id, then hand it to the engine."""
    try:
        request = _parse(task.request.id, args, fields)
        accepted = _accept(request)
        if accepted.refusal is not None:
            raise refused(accepted.refusal)
    except InvalidRequestError as error:
        _keep(task, str(error))
        raise  # so that the sender's AsyncResult.get() raises it too
    except (UnavailableError, LedgerFullError) as error:
        _log.warning("request back to its queue: %s", error, extra={"action": "stop_requeued"})
        time.sleep(_AWAY_S)
        raise Reject(str(error), requeue=True) from error
    if accepted.dispatch and accepted.receipt is not None:
        _submit(accepted.receipt.request_id)


def _parse(task_id: str, args: tuple[Any, ...], fields: dict[str, Any]) -> StopRequest:
    if args:
        raise InvalidRequestError(f"{STOP_TASK} takes named fields only (kwargs)")
    if fields.get("request_id", task_id) != task_id:
        raise InvalidRequestError(
            "request_id: the Celery task id is the request's id; leave this field out",
            field="request_id",
        )
    return StopRequest.parse({**fields, "request_id": task_id})


def _accept(request: StopRequest) -> Accepted:
    submission = Submission(request, alias=True)
    return runtime.engine.run(commands.accept(runtime.policy, [submission], expire_late=True))[0]


def _submit(request_id: str) -> None:
    try:
        runtime.engine.submit([request_id])
    except StoplineError as error:
        _log.warning("id left to the sweep: %s", error, extra={"action": "dispatch_failed"})


def _keep(task: Task, reason: str) -> None:
    request = task.request
    body = orjson.dumps([request.args, request.kwargs, {}], default=repr)
    kept = runtime.keep(
        keep(
            runtime.policy,
            body,
            reason,
            queue=(request.delivery_info or {}).get("routing_key"),
            content_type="application/json",
            content_encoding="utf-8",
            headers={"task": task.name, "id": request.id, "lang": "py", "argsrepr": ""},
        )
    )
    if not kept:
        time.sleep(_AWAY_S)
        raise Reject(reason, requeue=True)
