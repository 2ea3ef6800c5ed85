"""`/v1/outcomes`: outcomes as they come, as server-sent events."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from stopline.contract import OutcomeKind
from stopline.errors import StoplineError
from stopline_gateway.feed import Gap, Step
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.replies import problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.routes.parameters import Only
from stopline_gateway.services import services_of
from stopline_gateway.waiting import first_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from stopline.contract import Outcome
    from stopline_gateway.access import Caller
    from stopline_gateway.services import Services

router = APIRouter(prefix="/v1/outcomes", tags=["outcomes"], route_class=DirectRoute)
_RETRY_MS: Final = 1_000
_SILENT_MAX: Final = 250
"""Outcomes that are passed over before their place is told."""
_PLACE: Final = re.compile(r"[0-9]{1,18}(?:-[0-9]{1,18})?")
_LAST: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that was received; browsers send it by themselves. "
    "`0-0`: from the oldest that is kept. Left out: from now on.",
    "schema": {"type": "string", "pattern": f"^{_PLACE.pattern}$"},
}


@router.get(
    "",
    operation_id="followOutcomes",
    summary="Outcomes as they come",
    response_model=None,
    responses={
        200: {
            "description": "Server-sent events. `outcome`: its document is the data. `gap`: some "
            "between the last id and here are no longer kept. A comment every ten seconds.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(Kind.OUTCOMES_OFF, Kind.BUSY, Kind.CLOSING),
    },
    openapi_extra={"parameters": [_LAST]},
)
async def follow_outcomes(  # each is a parameter of the query
    request: Request,
    user_id: Only = None,
    task_id: Only = None,
    source: Only = None,
    batch_id: Only = None,
    outcome: Annotated[OutcomeKind | None, Query(description="Only these.")] = None,
) -> Response:
    """Each outcome at least once, in their order, where STOPLINE_OUTCOMES is on.

    After a lost connection, the header field `Last-Event-ID` goes on where it ended.
    """
    services = services_of(request)
    caller = await services.admit(request, Scope.READ)
    if not services.keeps_outcomes:
        raise Problem(
            Kind.OUTCOMES_OFF,
            "Set STOPLINE_OUTCOMES=1 for the workers, the gateway and all others.",
        )
    services.waiting.check_room_for_stream()
    wanted = {
        name: value
        for name, value in (
            ("user_id", user_id),
            ("task_id", task_id),
            ("source", source),
            ("batch_id", batch_id),
            ("outcome", outcome),
        )
        if value is not None
    }
    body = _events(services, caller, _place(request), wanted)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)


def _place(request: Request) -> str | None:
    given = request.headers.get("last-event-id")
    if given is not None and _PLACE.fullmatch(given) is None:
        raise Problem(
            Kind.INVALID, "Last-Event-ID: this is no id of an event.", field="Last-Event-ID"
        )
    return given


async def _events(
    services: Services, caller: Caller, place: str | None, wanted: dict[str, Any]
) -> AsyncIterator[bytes]:
    begins, passed_over = True, 0
    try:
        with services.waiting.stream() as end:
            async with aclosing(services.feed.follow(place)) as stream:
                async for step in _until(stream, end):
                    services.access.check_still(caller)
                    text = _text(step, wanted)
                    passed_over = 0 if text else passed_over + 1
                    if begins:
                        yield format_sse_event(
                            retry=_RETRY_MS, id=step.place, comment="outcomes follow"
                        )
                    elif text is not None:
                        yield text
                    elif passed_over % _SILENT_MAX == 0 or step.found is None:
                        # Who comes again goes on from here, though nothing of this was for them.
                        yield format_sse_event(id=step.place, comment="still here")
                    begins = False
        yield format_sse_event(comment="this process ends: connect again")
    except Problem as problem:
        yield format_sse_event(comment=problem.detail)
    except StoplineError:
        yield format_sse_event(comment="the ledger cannot be reached: connect again")


async def _until(stream: AsyncIterator[Step], end: asyncio.Future[None]) -> AsyncIterator[Step]:
    """What comes, until this process is about to end."""
    while not end.done():
        following = asyncio.ensure_future(anext(stream))
        try:
            await first_of(following, end)
            if not following.done():
                return
            yield following.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _text(step: Step, wanted: dict[str, Any]) -> bytes | None:
    match step.found:
        case Gap():
            return format_sse_event(event="gap", data_str="{}")
        case None:
            return None
        case outcome:
            if not _matches(outcome, wanted):
                return None
            data = orjson.dumps(outcome.to_json()).decode()
            return format_sse_event(event="outcome", id=step.place, data_str=data)


def _matches(outcome: Outcome, wanted: dict[str, Any]) -> bool:
    """Whether somebody asked for it; of those who joined a request only the sources are known."""
    source = wanted.get("source")
    if source is not None and source not in {
        outcome.source,
        *(one.source for one in outcome.joined),
    }:
        return False
    others = ((name, value) for name, value in wanted.items() if name != "source")
    return all(getattr(outcome, name) == value for name, value in others)
