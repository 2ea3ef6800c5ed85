"""`/v1/history`: what became of requests, for as long as the archive keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from stopline.contract import OutcomeKind, parse_moment
from stopline_archive.places import HistoryFilter, Place
from stopline_gateway.documents import HistoryPage
from stopline_gateway.history import PAGE_MAX
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind
from stopline_gateway.replies import json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.routes.parameters import Only
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

router = APIRouter(prefix="/v1/history", tags=["history"], route_class=DirectRoute)


@router.get(
    "",
    operation_id="listHistory",
    summary="What became of requests, from the archive, the newest first",
    response_model=None,
    responses={
        200: {"description": "A page.", "model": HistoryPage},
        **problems(Kind.NO_ARCHIVE),
    },
)
async def list_history(  # noqa: PLR0913, PLR0917  # each is a parameter of the query
    request: Request,
    task_id: Only = None,
    user_id: Only = None,
    source: Only = None,
    batch_id: Only = None,
    outcome: Annotated[OutcomeKind | None, Query(description="Only what ended so.")] = None,
    since: Annotated[str | None, Query(max_length=64, description="Ended since then.")] = None,
    until: Annotated[str | None, Query(max_length=64, description="Ended before then.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next` of the page before.")
    ] = None,
) -> Response:
    """Who stopped a task, when and why: also what the ledger has forgotten."""
    services = services_of(request)
    await services.admit(request, Scope.READ)
    wanted = HistoryFilter(
        user_id,
        task_id,
        source,
        batch_id,
        outcome,
        parse_moment(since, "since") if since else None,
        parse_moment(until, "until") if until else None,
    )
    after = Place.parse(cursor) if cursor else None
    found, further = await services.history.page(wanted, after, limit)
    return json_reply(
        {"outcomes": [one.to_json() for one in found], "next": further and str(further)}
    )
