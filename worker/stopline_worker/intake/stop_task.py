"""What a `stopline.stop` message asks for. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from stopline.contract import STOP_TASK, Lane, StopRequest
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from stopline_worker.intake.envelope import TaskMessage

_LANES: Final = {lane.queue: lane.value for lane in Lane}


def stop_request(message: TaskMessage, queue: str, *, kept_for_s: float) -> StopRequest:
    """The request of a message: its id is the Celery task's, its lane that of its queue.

    Args:
        message: the message.
        queue: where it came from.
        kept_for_s: a `not_after` may be no later; an `expires` beyond it counts as none.

    Raises:
        InvalidRequestError: naming what is wrong.
    """
    if message.args:
        raise InvalidRequestError(f"{STOP_TASK} takes named fields only (kwargs)")
    if message.kwargs.get("request_id", message.id) != message.id:
        raise InvalidRequestError(
            "request_id: the Celery task id is the request's id; leave this field out",
            field="request_id",
        )
    fields = {"lane": _LANES.get(queue, Lane.DEFAULT), **message.kwargs, "request_id": message.id}
    request = StopRequest.parse(fields)
    expires = message.expires
    if expires is None or expires - datetime.now(UTC) > timedelta(seconds=kept_for_s):
        return request
    end = min(expires, request.not_after) if request.not_after else expires
    return request.model_copy(update={"not_after": end})
