"""`/v1/batches`: ask for many tasks to be stopped, and see how far that is."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from stopline.bulk.reading import BatchReader, Format
from stopline.bulk.uploading import Upload
from stopline.contract import (
    REASON_CHARACTERS_MAX,
    AuditAction,
    Batch,
    BatchHead,
    Lane,
    is_identifier,
    new_request_id,
)
from stopline.errors import InvalidRequestError, StoplineError
from stopline_gateway.bodies import blocks, media_type, require
from stopline_gateway.documents import BatchPage, BatchReply
from stopline_gateway.keys import Scope
from stopline_gateway.pages import BATCH_CURSOR, batch_cursor, read_batch_cursor
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.routes.parameters import BatchId, known_form
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from stopline_gateway.access import Caller
    from stopline_gateway.services import Services

router = APIRouter(prefix="/v1/batches", tags=["batches"], route_class=DirectRoute)
_FORMATS: Final = {
    "application/x-ndjson": Format.JSONL,
    "application/jsonl": Format.JSONL,
    "text/csv": Format.CSV,
    "application/json": Format.JSON,
}
_LINE: Final = {"$ref": "#/components/schemas/StopRequest"}
_BODY: Final[dict[str, dict[str, Any]]] = {
    "application/x-ndjson": {
        "schema": {"type": "string"},
        "example": '{"user_id":"u1","task_id":"t1"}\n{"user_id":"u1","task_id":"t2"}\n',
    },
    "text/csv": {"schema": {"type": "string"}, "example": "user_id,task_id\nu1,t1\nu1,t2\n"},
    "application/json": {"schema": {"type": "array", "items": _LINE}},
}

BatchName = Annotated[
    str | None,
    Query(description="An id of your own: the same body again resumes what was interrupted."),
]
BatchTitle = Annotated[
    str | None, Query(max_length=200, min_length=1, description="What people call the batch.")
]
Source = Annotated[
    str | None, Query(max_length=200, min_length=1, description="For lines that name none.")
]
Reason = Annotated[
    str | None, Query(max_length=REASON_CHARACTERS_MAX, description="For lines that name none.")
]
DryRun = Annotated[
    bool, Query(description="Tell what would become of each line now, and send nothing.")
]


@router.post(
    "",
    operation_id="createBatch",
    summary="Ask for many tasks to be stopped",
    status_code=202,
    response_model=None,
    responses={
        202: {"description": "What became of the lines.", "model": BatchReply},
        **problems(*BODY, Kind.FULL),
    },
    openapi_extra=body_of(_BODY),
)
async def create_batch(  # each is a parameter of the query
    request: Request,
    batch_id: BatchName = None,
    lane: Annotated[Lane, Query(description="For lines that name none.")] = Lane.BULK,
    name: BatchTitle = None,
    source: Source = None,
    reason: Reason = None,
    dry_run: DryRun = False,
) -> Response:
    """A line a task, read as it comes; a wrong line is refused alone.

    With the same `batch_id`, sending the same lines in the same order doubles nothing.
    """
    services = services_of(request)
    caller = await services.admit(request, Scope.BULK)
    found = media_type(request)
    require(found, *_FORMATS)
    batch_id = _batch_id(batch_id)
    speaks_for = caller.speak_for(source)
    defaults = {"lane": lane, "source": speaks_for or "unknown", "reason": reason}
    reader = BatchReader(_FORMATS[found], batch_id, defaults)
    upload = Upload(
        services.client,
        reader,
        caller.source,
        caller.own_key,
        head=BatchHead(name, speaks_for, reason),
        dry_run=dry_run,
    )
    if dry_run:
        await _run(upload, request, services, batch_id, caller)
    else:
        await _run_noted(upload, request, services, batch_id, caller)
    document = {"batch_id": batch_id, **upload.counts(), "dry_run": dry_run}
    is_there = upload.receipts.total() > 0 and not dry_run
    location = {"Location": f"/v1/batches/{batch_id}"} if is_there else {}
    return json_reply(document, 202, location)


def _batch_id(given: str | None) -> str:
    if given is None:
        return new_request_id()
    if not is_identifier(given):
        raise Problem(
            Kind.INVALID,
            "batch_id: 1 to 128 of the characters A-Z a-z 0-9 . _ ~ - are allowed",
            field="batch_id",
        )
    return given


async def _run_noted(
    upload: Upload, request: Request, services: Services, batch_id: str, caller: Caller
) -> None:
    """Read and send, with a word in the audit trail before and after."""
    await services.client.note(AuditAction.BATCH, caller.actor, batch_id=batch_id)
    try:
        await _run(upload, request, services, batch_id, caller)
    except Exception:
        with suppress(StoplineError):  # the ledger may be what it broke off for
            await _note_end(upload, services, batch_id, caller)
        raise
    await _note_end(upload, services, batch_id, caller)


async def _note_end(upload: Upload, services: Services, batch_id: str, caller: Caller) -> None:
    about = {"batch_id": batch_id, "count": upload.receipts.total()}
    await services.client.note(AuditAction.BATCH_END, caller.actor, **about)


async def _with_key(request: Request, services: Services, caller: Caller) -> AsyncIterator[bytes]:
    """The body, as long as its key is one: a batch may take long."""
    async for block in blocks(request, services.streamed):
        services.access.check_still(caller)
        yield block


async def _run(
    upload: Upload, request: Request, services: Services, batch_id: str, caller: Caller
) -> None:
    try:
        await upload.run(_with_key(request, services, caller))
    except InvalidRequestError as error:
        raise Problem(
            Kind.INVALID, f"{error}.", field=error.field, more=_so_far(upload, batch_id)
        ) from None
    except StoplineError as error:
        raise Problem.of(error, **_so_far(upload, batch_id)) from error
    except Problem as problem:
        problem.more |= _so_far(upload, batch_id)
        raise


def _so_far(upload: Upload, batch_id: str) -> dict[str, Any]:
    """What had been accepted when it broke off: the same batch sent again goes on from there."""
    return {"batch_id": batch_id, "accepted": upload.receipts.total()}


@router.get(
    "",
    operation_id="listBatches",
    summary="The last batches, the newest first",
    response_model=None,
    responses={200: {"description": "A page.", "model": BatchPage}, **problems()},
)
async def list_batches(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=250)] = 50,
    cursor: Annotated[
        str | None,
        Query(pattern=f"^{BATCH_CURSOR}$", description="`next` of the page before."),
    ] = None,
) -> Response:
    """As many as are listed (`STOPLINE_RECENT_MAX`), each with its progress."""
    services = services_of(request)
    await services.admit(request, Scope.READ, Scope.BULK)
    until = read_batch_cursor(cursor)
    batches, further = await services.client.view.batches(until=until, limit=limit)
    return json_reply(
        {"batches": [one.to_json() for one in batches], "next": batch_cursor(further)}
    )


@router.get(
    "/{batch_id}",
    operation_id="getBatch",
    summary="Progress and report of a batch",
    response_model=None,
    responses={
        200: {"description": "How far it is.", "model": Batch},
        **problems(Kind.NOT_FOUND),
    },
)
async def get_batch(request: Request, batch_id: BatchId) -> Response:
    """Counts of receipts and outcomes; `finished_at` once every line has its outcome."""
    services = services_of(request)
    await services.admit(request, Scope.READ, Scope.BULK)
    found = await services.client.batch(known_form(batch_id, "batch"))
    return json_reply(found.to_json())
