"""`/livez`, `/readyz`: for whoever runs the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from stopline_gateway.documents import Ready
from stopline_gateway.replies import json_reply
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from stopline_gateway.services import Services

router = APIRouter(tags=["probes"], route_class=DirectRoute)


@router.get(
    "/livez",
    operation_id="livez",
    summary="Whether the process lives",
    response_model=None,
    responses={200: {"description": "It does.", "content": {"application/json": {}}}},
)
async def livez(_request: Request) -> Response:
    """One that does not answer is to be started again; a Redis that is away is no reason to."""
    return json_reply({"live": True})


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Whether it can do its work",
    response_model=None,
    responses={
        200: {"description": "It can.", "model": Ready},
        503: {"description": "It cannot, for now.", "model": Ready},
    },
)
async def readyz(request: Request) -> Response:
    """The ledger answers, and the process is not about to end.

    `warnings` are of what does not keep it from its work: a keys file or rules that are wrong now,
    an API that refuses the token, a lane that is paused.
    """
    services = services_of(request)
    problems = await _problems(services)
    warnings = [*services.access.warnings(), *services.readiness.warnings()]
    warnings += filter(None, [services.policy.problem])
    state = {"ready": not problems, "problems": problems, "warnings": warnings}
    return json_reply(state, 503 if problems else 200)


async def _problems(services: Services) -> list[str]:
    if services.waiting.is_closing:
        return ["this process ends"]
    problem = await services.readiness.problem()
    return [] if problem is None else [problem]


for _path, _endpoint in (("/livez", livez), ("/readyz", readyz)):
    # Load balancers and uptime checks ask with HEAD; the document names each operation once.
    router.add_api_route(_path, _endpoint, methods=["HEAD"], include_in_schema=False)
