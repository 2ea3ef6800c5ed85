"""`/v1/batches/{id}/…`: what is done with a batch as a whole."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request

from stopline.contract import Batch
from stopline_gateway.bodies import read_document, read_none
from stopline_gateway.documents import (
    BatchPauseRequest,
    BatchRedriveRequest,
    CancelledBatch,
    RedrivenBatch,
)
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.routes.parameters import BatchId, known_form
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from stopline_gateway.access import Caller
    from stopline_gateway.services import Services

router = APIRouter(prefix="/v1/batches", tags=["batches"], route_class=DirectRoute)
_BATCH: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The batch as it is now.", "model": Batch}
}


async def _operator(request: Request, batch_id: str) -> tuple[Services, Caller]:
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    known_form(batch_id, "batch")
    return services, caller


def _body(name: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    return body_of({"application/json": schema})


@router.post(
    "/{batch_id}/pause",
    operation_id="pauseBatch",
    summary="Let the requests of a batch wait",
    response_model=None,
    responses={**_BATCH, **problems(*BODY, Kind.NOT_FOUND, Kind.FULL)},
    openapi_extra=_body("BatchPauseRequest"),
)
async def pause_batch(request: Request, batch_id: BatchId) -> Response:
    """Those that are still to come, too; calls under way finish. They expire as ever."""
    services, caller = await _operator(request, batch_id)
    asked = await read_document(request, services.whole, BatchPauseRequest)
    batch = await services.client.batches.pause(
        batch_id, reason=asked.reason, by=caller.name, actor=caller.actor
    )
    return json_reply(batch.to_json())


@router.post(
    "/{batch_id}/resume",
    operation_id="resumeBatch",
    summary="Let a paused batch go on",
    response_model=None,
    responses={**_BATCH, **problems(Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.FULL)},
)
async def resume_batch(request: Request, batch_id: BatchId) -> Response:
    """At once; one that was not paused stays as it is."""
    services, caller = await _operator(request, batch_id)
    await read_none(request)
    batch = await services.client.batches.resume(batch_id, actor=caller.actor)
    return json_reply(batch.to_json())


@router.post(
    "/{batch_id}/cancel",
    operation_id="cancelBatch",
    summary="Cancel every request of a batch",
    response_model=None,
    responses={
        200: {"description": "What came of it, counted.", "model": CancelledBatch},
        **problems(Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.FULL),
    },
)
async def cancel_batch(request: Request, batch_id: BatchId) -> Response:
    """For everybody who joined them, too."""
    services, caller = await _operator(request, batch_id)
    await read_none(request)
    client = services.client
    results = await client.cancel_batch(batch_id, by=caller.name, actor=caller.actor)
    return json_reply({"batch_id": batch_id, "results": results})


@router.post(
    "/{batch_id}/redrive",
    operation_id="redriveBatch",
    summary="Send again what of a batch was not stopped",
    response_model=None,
    responses={
        200: {"description": "What was sent again, counted.", "model": RedrivenBatch},
        **problems(*BODY, Kind.NOT_FOUND, Kind.FULL),
    },
    openapi_extra=_body("BatchRedriveRequest"),
)
async def redrive_batch(request: Request, batch_id: BatchId) -> Response:
    """Each dead letter as a new request of the key's own, outside the batch."""
    services, caller = await _operator(request, batch_id)
    asked = await read_document(request, services.whole, BatchRedriveRequest)
    receipts = await services.client.batches.redrive(
        batch_id,
        by=caller.name,
        outcomes=asked.outcomes,
        reason=asked.reason,
        actor=caller.actor,
    )
    counted = Counter(one.receipt for one in receipts.values())
    document = {"batch_id": batch_id, "redriven": len(receipts), "receipts": counted}
    return json_reply(document)
