"""`/v1/resumes`: tell that a task was resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from stopline.contract import ResumeResult
from stopline_gateway.bodies import read_document
from stopline_gateway.documents import ResumeRequest
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from starlette.responses import Response

router = APIRouter(prefix="/v1/resumes", tags=["stops"], route_class=DirectRoute)
_SCHEMA = {"schema": {"$ref": "#/components/schemas/ResumeRequest"}}


@router.post(
    "",
    operation_id="createResume",
    summary="Tell that a task was resumed",
    response_model=None,
    responses={
        200: {
            "description": "Requests that are superseded, and one whose call is in flight.",
            "model": ResumeResult,
        },
        **problems(*BODY, Kind.FULL),
    },
    openapi_extra=body_of({"application/json": _SCHEMA}),
)
async def create_resume(request: Request) -> Response:
    """Stops of this task that were issued before are superseded: a late one ends no campaign.

    Give `at`, when it was resumed: repeated without it, the resume counts as of its repetition.
    """
    services = services_of(request)
    caller = await services.admit(request, Scope.STOP)
    resumed = await read_document(request, services.whole, ResumeRequest)
    result = await services.client.resumed(
        resumed.user_id,
        resumed.task_id,
        resumed.sub_user_id,
        at=resumed.at,
        actor=caller.actor,
    )
    return json_reply(result.to_json())
