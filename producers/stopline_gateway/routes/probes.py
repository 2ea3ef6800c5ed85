"""`/livez`, `/readyz`: for whoever runs the gateway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request

from stopline.errors import StoplineError
from stopline_gateway.documents import Ready
from stopline_gateway.replies import json_reply
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from stopline_gateway.services import Services

router = APIRouter(tags=["probes"], route_class=DirectRoute)
_PROBE_S: Final = 3.0


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
    """The ledger answers, and the process is not about to end."""
    problems = await _problems(services_of(request))
    return json_reply({"ready": not problems, "problems": problems}, 503 if problems else 200)


async def _problems(services: Services) -> list[str]:
    if services.waiting.is_closing:
        return ["this process ends"]
    try:
        async with asyncio.timeout(_PROBE_S):
            await services.client.now()
    except TimeoutError:
        return [f"the ledger does not answer within {_PROBE_S:g} s"]
    except StoplineError:
        return ["the ledger cannot be reached"]  # what Redis said may name hosts: it is in the log
    return []
