"""`/v1/batches/{id}/report` and `/undo`: what became of each line, and what was really stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from stopline.bulk.reporting import ReportFormat
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind
from stopline_gateway.replies import problems
from stopline_gateway.reports import MEDIA_TYPES, Told, report_reply
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.routes.parameters import BatchId, known_form
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

router = APIRouter(prefix="/v1/batches", tags=["batches"], route_class=DirectRoute)
_TEXT: Final = {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A row each, as they are read.", "content": _TEXT},
    **problems(Kind.NOT_FOUND),
}
_Form = Annotated[ReportFormat, Query(alias="format", description="JSON lines, or CSV.")]


@router.get(
    "/{batch_id}/report",
    operation_id="reportBatch",
    summary="Every line of a batch, with its outcome",
    response_model=None,
    responses=_ANSWERS,
)
async def report_batch(
    request: Request, batch_id: BatchId, form: _Form = ReportFormat.JSONL
) -> Response:
    """In their order; a line that has no outcome has its state. A hundred are read at a time."""
    return await _reply(request, batch_id, Told.REPORT, form)


@router.get(
    "/{batch_id}/undo",
    operation_id="undoBatch",
    summary="The targets that a batch really stopped",
    response_model=None,
    responses=_ANSWERS,
)
async def undo_batch(
    request: Request, batch_id: BatchId, form: _Form = ReportFormat.JSONL
) -> Response:
    """By a call of its own, not stopped before, not resumed since: to resume after a mistake.

    Nothing is changed by it. What the batch shares with others is not there.
    """
    return await _reply(request, batch_id, Told.UNDO, form)


async def _reply(request: Request, batch_id: str, what: Told, form: ReportFormat) -> Response:
    services = services_of(request)
    caller = await services.admit(request, Scope.READ)
    return await report_reply(services, caller, known_form(batch_id, "batch"), what, form)
