"""`/v1/gate`, `/v1/lanes`: whether calls are made, and lanes paused by people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request

from stopline.contract import Lane  # FastAPI reads it
from stopline_gateway.bodies import read_document, read_none
from stopline_gateway.documents import GateReply, LanePauseRequest
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from stopline_gateway.services import Services

router = APIRouter(prefix="/v1", tags=["gate"], route_class=DirectRoute)
_SCHEMA = {"schema": {"$ref": "#/components/schemas/LanePauseRequest"}}
_GATE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The gate as it is now.", "model": GateReply}
}


@router.get(
    "/gate",
    operation_id="getGate",
    summary="Whether calls are made now",
    response_model=None,
    responses={**_GATE, **problems()},
)
async def get_gate(request: Request) -> Response:
    """Why calls wait, if they do: a refused token, an API that fails, a pause."""
    services = services_of(request)
    await services.admit(request, Scope.READ)
    return await _gate(services)


@router.post(
    "/lanes/{lane}/pause",
    operation_id="pauseLane",
    summary="Let the requests of a lane wait",
    response_model=None,
    responses={**_GATE, **problems(*BODY)},
    openapi_extra=body_of({"application/json": _SCHEMA}),
)
async def pause_lane(request: Request, lane: Lane) -> Response:
    """For a day at most. They expire, are cancelled and superseded as ever."""
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    asked = await read_document(request, services.whole, LanePauseRequest)
    await services.client.gate.pause_lane(
        lane, asked.lasts_s, reason=asked.reason, by=caller.name, actor=caller.actor
    )
    return await _gate(services)


@router.post(
    "/lanes/{lane}/resume",
    operation_id="resumeLane",
    summary="Let a paused lane go on",
    response_model=None,
    responses={**_GATE, **problems(Kind.TOO_LARGE)},
)
async def resume_lane(request: Request, lane: Lane) -> Response:
    """At once; one that was not paused stays as it is."""
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    await read_none(request)
    await services.client.gate.resume_lane(lane, actor=caller.actor)
    return await _gate(services)


async def _gate(services: Services) -> Response:
    return json_reply((await services.client.gate.look()).to_json())
