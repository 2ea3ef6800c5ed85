"""What a batch's page hands out as files: its report, and what it really stopped."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from stopline.bulk.reporting import REPORT, UNDO, ReportFormat
from stopline_gateway.console.looking import known
from stopline_gateway.reports import report_reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from stopline.bulk.reporting import Sheet
    from stopline.contract import BatchLine
    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services


class Reporting:
    """Files about batches, as CSV."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._client = services.client

    async def report(self, request: Request, session: Session) -> Response:
        """Every line with its outcome."""
        batch_id = await self._there(request)
        return self._reply(
            REPORT, self._client.batches.report_pages(batch_id), f"report-{batch_id}", session
        )

    async def undo(self, request: Request, session: Session) -> Response:
        """The targets to resume if the batch was a mistake."""
        batch_id = await self._there(request)
        pages = self._client.batches.undo_pages(batch_id)
        return self._reply(UNDO, pages, f"undo-{batch_id}", session)

    async def _there(self, request: Request) -> str:
        """The id in the path, of a batch that there is: once rows are sent it is too late."""
        batch_id = known(request, "batch_id")
        await self._client.batch(batch_id)
        return batch_id

    def _reply(
        self, sheet: Sheet, pages: AsyncIterator[Sequence[BatchLine]], name: str, session: Session
    ) -> Response:
        still = partial(self._services.access.check_still, session.caller)
        return report_reply(sheet, ReportFormat.CSV, pages, name, still)
