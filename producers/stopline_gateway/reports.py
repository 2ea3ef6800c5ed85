"""Reports of batches as they are read: a page at a time, however large the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import StreamingResponse

from stopline.bulk.reporting import ReportFormat, Sheet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from stopline.contract import BatchLine

MEDIA_TYPES: Final = {
    ReportFormat.CSV: "text/csv",
    ReportFormat.JSONL: "application/x-ndjson",
}


def report_reply(
    sheet: Sheet,
    form: ReportFormat,
    pages: AsyncIterator[Sequence[BatchLine]],
    name: str,
    check: Callable[[], None],
) -> StreamingResponse:
    """Lines as they are read; a reply that breaks off ends without its last chunk, and is seen to.

    Args:
        sheet: which fields.
        form: how.
        pages: of the batch's lines.
        name: of the file, for who keeps it; an id's characters.
        check: raises when its reader may read no further.
    """
    return StreamingResponse(
        _rows(sheet, form, pages, check),
        media_type=MEDIA_TYPES[form],
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{name}.{form}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _rows(
    sheet: Sheet,
    form: ReportFormat,
    pages: AsyncIterator[Sequence[BatchLine]],
    check: Callable[[], None],
) -> AsyncIterator[str]:
    yield sheet.head(form)
    async for page in pages:
        check()
        if page:
            yield sheet.text(form, page)
