"""`/v1/events`: CloudEvents 1.0, one or many."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request

from stopline.errors import InvalidRequestError
from stopline_events import cloud_events
from stopline_events.decisions import STOP, Ruled, Stop
from stopline_gateway.bodies import json_of, media_type, read, require
from stopline_gateway.deciding import Decided, Result, decide, do
from stopline_gateway.documents import EventResult, EventResults
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from stopline_events.cloud_events import Event
    from stopline_events.decisions import Decision
    from stopline_gateway.access import Caller
    from stopline_gateway.services import Services

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=DirectRoute)
EVENTS_MAX: Final = 1_000
"""Events of one batch."""
_EXAMPLE: Final = {
    "specversion": "1.0",
    "id": "8f1b",
    "source": "/billing",
    "type": STOP,
    "time": "2026-11-26T08:00:00Z",
    "data": {"user_id": "5832d184", "task_id": "f232d184", "reason": "over budget"},
}
_EVENT: Final = {"type": "object", "required": ["specversion", "id", "source", "type"]}
_BODY: Final[dict[str, dict[str, Any]]] = {
    cloud_events.STRUCTURED: {"schema": _EVENT, "example": _EXAMPLE},
    cloud_events.BATCH: {
        # Of any items: one that is no event is refused alone.
        "schema": {"type": "array", "items": {}, "maxItems": EVENTS_MAX},
        "example": [_EXAMPLE],
    },
}


@router.post(
    "",
    operation_id="createEvents",
    summary="CloudEvents: stops and resumes",
    status_code=202,
    response_model=None,
    responses={
        202: {
            "description": "What became of the event, or of each of a batch.",
            "model": EventResult | EventResults,
        },
        **problems(*BODY, Kind.CONFLICT, Kind.FULL),
    },
    openapi_extra=body_of(_BODY),
)
async def create_events(request: Request) -> Response:
    """Structured, binary or batch. `source` and `id` are the idempotency key, `time` `issued_at`.

    Types: `stopline.stop.requested` (the data is a stop request's fields) and
    `stopline.task.resumed` (`user_id`, `task_id`, `sub_user_id`). About others the rules decide,
    where there are some; what means nothing is ignored, with a word.
    In binary mode the body is the data (`application/json`), and header fields `ce-…` the rest.
    """
    services = services_of(request)
    caller = await services.admit(request, Scope.STOP)
    found = media_type(request)
    headers = _headers(request)
    names = (cloud_events.STRUCTURED, cloud_events.BATCH)
    if cloud_events.is_event(headers) and found not in names:
        raw = await read(request, services.whole)
        return await _one(services, caller, _read(cloud_events.parse_binary, headers, found, raw))
    require(found, *names)
    raw = await read(request, services.whole)
    if found == cloud_events.STRUCTURED:
        return await _one(services, caller, _read(cloud_events.event_of, json_of(raw)))
    return await _many(services, caller, json_of(raw))


def _headers(request: Request) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.scope["headers"]
    ]


def _read(parse: Any, *arguments: Any) -> Event:
    try:
        event: Event = parse(*arguments)
    except InvalidRequestError as error:
        raise Problem.of(error) from None
    return event


async def _one(services: Services, caller: Caller, event: Event) -> Response:
    decided = decide(services, event, caller)
    if isinstance(decided.decision, Problem):
        raise decided.decision
    result = await do(services, caller, decided)
    if result.problem is not None:
        raise result.problem
    return json_reply(result.document(), 202)


async def _many(services: Services, caller: Caller, documents: object) -> Response:
    if not isinstance(documents, list):
        raise Problem(Kind.INVALID, "A batch is a JSON array of events.")
    if len(documents) > EVENTS_MAX:
        raise Problem(Kind.TOO_LARGE, f"At most {EVENTS_MAX} events are taken at once.")
    decided = [_parse_and_decide(services, one, caller) for one in documents]
    results: list[Result] = []
    # In their order, since a resume must find the stops before it and none of those after it; stops
    # in a row are accepted together.
    for are_stops, some in groupby(decided, lambda one: _only_stops(one.decision)):
        if are_stops:
            results += await asyncio.gather(*(do(services, caller, one) for one in some))
        else:
            results += [await do(services, caller, one) for one in some]
    counts = Counter(one.status for one in results)
    return json_reply({"results": [one.document() for one in results], "counts": counts}, 202)


def _only_stops(decision: Decision | Problem) -> bool:
    if isinstance(decision, Ruled):
        return all(isinstance(one.action, Stop) for one in decision.fired)
    return isinstance(decision, Stop)


def _parse_and_decide(services: Services, document: object, caller: Caller) -> Decided:
    try:
        event = cloud_events.event_of(document)
    except InvalidRequestError as error:
        return Decided(None, Problem.of(error))
    return decide(services, event, caller)
