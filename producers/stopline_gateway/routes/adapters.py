"""`/v1/alerts/alertmanager`, `/v1/decisions/opa`: what others send as they send it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request

from stopline.errors import InvalidRequestError
from stopline_events import alertmanager, opa
from stopline_events.decisions import STOP, Ignored
from stopline_gateway.bodies import read_json, read_zipped_json
from stopline_gateway.deciding import Decided, Result, decide, do
from stopline_gateway.documents import EventResults
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.responses import Response

    from stopline_events.cloud_events import Event
    from stopline_gateway.access import Caller
    from stopline_gateway.bodies import BodyLimits
    from stopline_gateway.services import Services

router = APIRouter(prefix="/v1", tags=["events"], route_class=DirectRoute)
_AT_ONCE_MAX = 2_000
_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {"description": "What became of each.", "model": EventResults},
    **problems(*BODY, Kind.CONFLICT, Kind.FULL),
}
_ALERT = {
    "status": "firing",
    "labels": {"alertname": "OverBudget", "user_id": "5832d184", "task_id": "f232d184"},
    "annotations": {"summary": "spent 120 of 100"},
    "startsAt": "2026-11-26T08:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "7d1f1c0a5e2b9c33",
}
_WEBHOOK = {"version": "4", "status": "firing", "alerts": [_ALERT]}
_DECISION = {
    "decision_id": "4ca636c1-55e4-417a-b1d8-4aceb67960d1",
    "path": "campaigns/guard",
    "timestamp": "2026-11-26T08:00:00Z",
    "result": {"stop": [{"user_id": "5832d184", "task_id": "f232d184", "reason": "no consent"}]},
}


@router.post(
    "/alerts/alertmanager",
    operation_id="createAlerts",
    summary="Alerts of Alertmanager",
    status_code=202,
    response_model=None,
    responses=_RESPONSES,
    openapi_extra=body_of(
        {"application/json": {"schema": {"type": "object"}, "example": _WEBHOOK}}
    ),
)
async def create_alerts(request: Request) -> Response:
    """A webhook of version 4. What fires asks for a stop, what is resolved never does.

    Where rules are in force they decide (`alertmanager.alert.firing`, `….resolved`; the data is the
    alert). Where there are none, the labels `user_id`, `task_id`, `sub_user_id` and `lane` say what
    is to be stopped.
    """
    return await _take(request, read_json, alertmanager.events_of, _stops_of_alert)


@router.post(
    "/decisions/opa",
    operation_id="createDecisions",
    summary="Decisions of the Open Policy Agent",
    status_code=202,
    response_model=None,
    responses=_RESPONSES,
    openapi_extra=body_of({"application/json": {"schema": {}, "example": _DECISION}}),
)
async def create_decisions(request: Request) -> Response:
    """One decision, or a list, as OPA's decision log has them.

    Compressed with gzip, as it sends them, or not. Where rules are in force they decide
    (`opa.decision`; the data has `path`, `result`, `input`). Where there are none, `result.stop` is
    what is to be stopped: a stop request's fields, or a list of them.
    """
    return await _take(request, read_zipped_json, opa.events_of, opa.stop_fields)


def _stops_of_alert(event: Event) -> list[dict[str, Any]]:
    fields = alertmanager.stop_fields(event)
    return [] if fields is None else [fields]


async def _take(
    request: Request,
    read_body: Callable[[Request, BodyLimits], Awaitable[Any]],
    read: Callable[[Any], Sequence[Event | InvalidRequestError]],
    stops_of: Callable[[Event], list[dict[str, Any]]],
) -> Response:
    services = services_of(request)
    caller = await services.admit(request, Scope.STOP)
    body = await read_body(request, services.whole)
    try:
        events = read(body)
    except InvalidRequestError as error:
        raise Problem.of(error) from None
    decided: list[Decided] = []
    for event in events:
        decided += _decided(services, caller, event, stops_of)
        if len(decided) > _AT_ONCE_MAX:
            raise Problem(Kind.TOO_LARGE, f"At most {_AT_ONCE_MAX} stops are taken at once.")
    results: list[Result] = await asyncio.gather(*(do(services, caller, one) for one in decided))
    counts = Counter(one.status for one in results)
    return json_reply({"results": [one.document() for one in results], "counts": counts}, 202)


def _decided(
    services: Services,
    caller: Caller,
    event: Event | InvalidRequestError,
    stops_of: Callable[[Event], list[dict[str, Any]]],
) -> list[Decided]:
    """By the rules; where there are none, by what the sender's own form means."""
    if isinstance(event, InvalidRequestError):
        return [Decided(None, Problem.of(event))]
    by_rules = decide(services, event, caller)
    if services.policy.has_rules or not isinstance(by_rules.decision, Ignored):
        return [by_rules]
    stops = stops_of(event)
    if not stops:
        return [by_rules]
    return [
        decide(services, _as_stop(event, fields, number if len(stops) > 1 else None), caller)
        for number, fields in enumerate(stops)
    ]


def _as_stop(event: Event, fields: dict[str, Any], number: int | None) -> Event:
    """The event of a stop; of many that one decision asks for, each has a key of its own."""
    own_id = event.id if number is None else orjson.dumps([event.id, number]).decode()
    known = {"id": own_id, "type": STOP, "data": fields}
    return event.model_copy(update=known)
