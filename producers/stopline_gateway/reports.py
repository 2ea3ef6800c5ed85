"""Reports of batches as they are read: a page at a time, however large the batch."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from starlette.responses import StreamingResponse

from stopline.bulk.reporting import REPORT, UNDO, ReportFormat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stopline_gateway.access import Caller
    from stopline_gateway.services import Services

MEDIA_TYPES: Final = {
    ReportFormat.CSV: "text/csv",
    ReportFormat.JSONL: "application/x-ndjson",
}


class Told(StrEnum):
    """What is told of a batch, line by line."""

    REPORT = "report"
    UNDO = "undo"


async def report_reply(
    services: Services, caller: Caller, batch_id: str, what: Told, form: ReportFormat
) -> StreamingResponse:
    """Lines as they are read; a reply that breaks off ends without its last chunk, and is seen to.

    Raises:
        UnknownRequestError: there is no such batch; once rows are sent it is too late to say so.
    """
    await services.client.batch(batch_id)
    return StreamingResponse(
        _rows(services, caller, batch_id, what, form),
        media_type=MEDIA_TYPES[form],
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{what}-{batch_id}.{form}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _rows(
    services: Services, caller: Caller, batch_id: str, what: Told, form: ReportFormat
) -> AsyncIterator[str]:
    batches = services.client.batches
    sheet, read = {
        Told.REPORT: (REPORT, batches.report_pages),
        Told.UNDO: (UNDO, batches.undo_pages),
    }[what]
    yield sheet.head(form)
    async for page in read(batch_id):
        services.access.check_still(caller)
        if page:
            yield sheet.text(form, page)
