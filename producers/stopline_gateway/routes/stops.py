"""`/v1/stops`: ask for a task to be stopped, see what became of it, cancel it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from stopline.contract import (
    CancelResult,
    Lane,
    OpenRequest,
    Outcome,
    OutcomeKind,
    Receipt,
    ReceiptKind,
    State,
    StopRequest,
    is_trace_parent,
)
from stopline_gateway.bodies import read_none, read_object
from stopline_gateway.documents import CancelDocument, ReceiptDocument, StopPage
from stopline_gateway.keys import Scope
from stopline_gateway.pages import Cursor, page_of, request_filter
from stopline_gateway.problems import Kind, Problem, retry_after
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.routes.parameters import Only, RequestId, WaitS, known_form
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from stopline_gateway.access import Caller
    from stopline_gateway.services import Services

_log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/stops", tags=["stops"], route_class=DirectRoute)
_AT_ONCE: Final = frozenset({ReceiptKind.SATISFIED, ReceiptKind.SUPERSEDED})
"""The receipts of requests that have their outcome with them."""
_PAGE_MAX: Final = 1_000
_EXAMPLE: Final = {
    "user_id": "5832d184",
    "task_id": "f232d184",
    "reason": "over budget",
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key for the same target is accepted once, for a day by default: "
    "repeat a call whose answer got lost with it. The same as the field `idempotency_key`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}


@router.post(
    "",
    operation_id="createStop",
    summary="Ask for a task to be stopped",
    status_code=202,
    response_model=None,
    responses={
        200: {
            "description": "There is an outcome: the target was stopped by a call that began after "
            "the request was issued (`satisfied`) or was resumed since (`superseded`); or, with "
            "`wait_s`, the outcome itself.",
            "model": ReceiptDocument | Outcome,
        },
        202: {
            "description": "Accepted: there will be exactly one outcome. With `wait_s`, there was "
            "none in time, and this is the status.",
            "model": ReceiptDocument | OpenRequest,
            "headers": {
                "Location": {"description": "Where to look.", "schema": {"type": "string"}}
            },
        },
        **problems(*BODY, Kind.CONFLICT, Kind.FULL, Kind.BUSY),
    },
    openapi_extra={
        "parameters": [_KEY],
        **body_of(
            {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/StopRequest"},
                    "example": _EXAMPLE,
                }
            }
        ),
    },
)
async def create_stop(request: Request, wait_s: WaitS = 0) -> Response:
    """Exactly one outcome follows an accepted request, whatever crashes."""
    services = services_of(request)
    caller = await services.admit(request, Scope.STOP)
    fields = await read_object(request, services.whole)
    wish = stop_request(_with_trace(request, _with_key(request, fields)), caller)
    if wait_s > 0:
        with services.waiting.place():
            receipt = await services.client.stop_request(wish, actor=caller.actor)
            return await _waited(services, request, receipt, wait_s)
    return _accepted(await services.client.stop_request(wish, actor=caller.actor))


def _accepted(receipt: Receipt) -> Response:
    status = 200 if receipt.receipt in _AT_ONCE else 202
    return json_reply(receipt.to_json(), status, _location(receipt))


def _location(receipt: Receipt) -> dict[str, str]:
    return {"Location": f"/v1/stops/{receipt.request_id}"}


def _with_key(request: Request, fields: dict[str, Any]) -> dict[str, Any]:
    given = request.headers.getlist("idempotency-key")
    if not given:
        return fields
    in_body = fields.get("idempotency_key")
    if len(given) > 1 or (in_body is not None and in_body != given[0]):
        raise Problem(
            Kind.INVALID,
            "idempotency_key: it is there more than once, and differs.",
            field="idempotency_key",
        )
    return {**fields, "idempotency_key": given[0]}


def _with_trace(request: Request, fields: dict[str, Any]) -> dict[str, Any]:
    """The trace that a call belongs to goes with its request; one that is none is passed over."""
    given = request.headers.get("traceparent")
    if given is None or fields.get("traceparent") is not None or not is_trace_parent(given):
        return fields
    return {**fields, "traceparent": given}


def stop_request(fields: dict[str, Any], caller: Caller) -> StopRequest:
    """A request in the name of the caller; raises `InvalidRequestError` or `Problem`."""
    if "source" not in fields:
        source = caller.speak_for(None)
        fields = fields if source is None else {**fields, "source": source}
    elif isinstance(fields["source"], str):
        caller.speak_for(fields["source"])
    if caller.source is not None and fields.get("request_id") is not None:
        raise Problem(
            Kind.INVALID,
            "request_id: leave it out, and give an Idempotency-Key: ids are of all sources.",
            field="request_id",
        )
    return caller.own(StopRequest.parse(fields))


async def _waited(
    services: Services, request: Request, receipt: Receipt, wait_s: float
) -> Response:
    """The outcome, or the status; it is accepted, so whatever fails from now on is no error."""
    request_id, headers = receipt.request_id, _location(receipt)
    try:
        outcome = await services.waiting.outcome(request, request_id, wait_s)
        status = outcome or await services.client.status(request_id)
    except Exception as error:  # noqa: BLE001  # it is accepted
        _log.warning("nobody can wait: %r", error, extra={"action": "wait_failed"})
        return _accepted(receipt)
    again = retry_after(1) if services.waiting.is_closing else {}
    code = 200 if isinstance(status, Outcome) else 202
    return json_reply(status.to_json(), code, {**headers, **again})


@router.get(
    "",
    operation_id="listStops",
    summary="Open requests, or the last that ended",
    response_model=None,
    responses={200: {"description": "A page.", "model": StopPage}, **problems()},
)
async def list_stops(  # noqa: PLR0913, PLR0917  # each is a parameter of the query
    request: Request,
    state: Annotated[State | None, Query(description="Only open ones in this state.")] = None,
    outcome: Annotated[
        OutcomeKind | None, Query(description="Only of the last that ended, those that did so.")
    ] = None,
    ended: Annotated[bool, Query(description="The last that ended.")] = False,
    lane: Annotated[Lane | None, Query(description="Only of this lane.")] = None,
    user_id: Only = None,
    task_id: Only = None,
    source: Only = None,
    batch_id: Only = None,
    limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = 100,
    cursor: Annotated[
        str | None, Query(max_length=300, description="`next` of the page before.")
    ] = None,
) -> Response:
    """Open ones by lane and when they are due; those that ended, the newest first.

    A page may have fewer than asked for, or none, and a `next` all the same: one call looks at some
    ten thousand requests.
    """
    services = services_of(request)
    await services.admit(request, Scope.READ)
    wanted = request_filter(
        state=state,
        outcome=outcome,
        lane=lane,
        user_id=user_id,
        task_id=task_id,
        source=source,
        batch_id=batch_id,
    )
    at = None if cursor is None else Cursor.parse(cursor)
    if ended and state is not None:
        raise Problem(Kind.INVALID, "state: of open requests, not with ended.", field="state")
    has_ended = ended or outcome is not None
    if at is not None and (at.ended is not None) != has_ended:
        raise Problem(Kind.INVALID, "cursor: it is of another list.", field="cursor")
    page = await page_of(services.client, wanted, at, limit, ended=has_ended)
    return json_reply(
        {
            "stops": [one.to_json() for one in page.stops],
            "next": None if page.next is None else str(page.next),
            "looked_at": page.looked_at,
        }
    )


@router.get(
    "/{request_id}",
    operation_id="getStop",
    summary="The outcome of a request, or where it is",
    response_model=None,
    responses={
        200: {"description": "Outcome or status.", "model": Outcome | OpenRequest},
        **problems(Kind.NOT_FOUND, Kind.BUSY),
    },
)
async def get_stop(request: Request, request_id: RequestId, wait_s: WaitS = 0) -> Response:
    """With every attempt. `outcome` is null as long as there is none."""
    services = services_of(request)
    await services.admit(request, Scope.READ, Scope.STOP)
    known_form(request_id, "request")
    found = None
    if wait_s > 0:
        with services.waiting.place():
            found = await services.waiting.outcome(request, request_id, wait_s)
    status = found or await services.client.status(request_id)
    again = retry_after(1) if services.waiting.is_closing else {}
    return json_reply(status.to_json(), 200, again)


@router.delete(
    "/{request_id}",
    operation_id="cancelStop",
    summary="Cancel a request",
    response_model=None,
    responses={
        200: {"description": "What came of it.", "model": CancelDocument},
        **problems(Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.FULL),
    },
)
async def cancel_stop(request: Request, request_id: RequestId) -> Response:
    """For everybody who joined it. A call in flight may still succeed; none follows.

    With the scope `stop`, what the key's own source asked for; with `operate`, anything.
    """
    services = services_of(request)
    caller = await services.admit(request, Scope.STOP, Scope.OPERATE)
    known_form(request_id, "request")
    await read_none(request)
    own = None if Scope.OPERATE in caller.scopes else caller.source
    client = services.client
    result = await client.cancel(request_id, by=caller.name, only_source=own, actor=caller.actor)
    if result is CancelResult.UNKNOWN:
        raise Problem(Kind.NOT_FOUND, f"The ledger knows no request {request_id}.")
    if result is CancelResult.NOT_OWN:
        raise Problem(
            Kind.FORBIDDEN,
            "Others asked for this, or asked as well: cancelling it needs the scope operate.",
        )
    return json_reply({"request_id": request_id, "result": result})
