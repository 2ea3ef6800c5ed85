"""`/metrics`: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from stopline.errors import StoplineError
from stopline_gateway.keys import Scope
from stopline_gateway.metrics import exposition
from stopline_gateway.replies import problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.services import services_of

router = APIRouter(tags=["probes"], route_class=DirectRoute)


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics of the whole deployment",
    response_model=None,
    responses={
        200: {
            "description": "As Prometheus' text format, or OpenMetrics where that is asked for.",
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
        },
        **problems(),
    },
)
async def metrics(request: Request) -> Response:
    """From the ledger: the same at every gateway. `stopline_up` is 0 where that is away."""
    services = services_of(request)
    # No rate: that is asked for in the ledger, and it is when that is away that somebody looks.
    services.access.caller(request, Scope.READ)
    try:
        seen = await services.sight.look()
    except StoplineError:
        seen = None
    body, media_type = exposition(seen, request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media_type})
