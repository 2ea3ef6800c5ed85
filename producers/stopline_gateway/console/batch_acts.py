"""What an operator does with a batch as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from stopline.contract import CancelResult
from stopline_gateway.console.looking import known
from stopline_gateway.console.replies import back
from stopline_gateway.keys import Scope

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stopline_gateway.console.admission import Form
    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services


class BatchActs:
    """Carries out what the forms of a batch's page say."""

    def __init__(self, services: Services) -> None:
        self._client = services.client

    async def pause(self, request: Request, session: Session, form: Form) -> Response:
        """Let its requests wait."""
        session.require(Scope.OPERATE)
        batch_id, caller = known(request, "batch_id"), session.caller
        reason = form.one("reason").strip()
        await self._client.batches.pause(
            batch_id, reason=reason, by=caller.name, actor=caller.actor
        )
        return _to(batch_id, paused=1)

    async def resume(self, request: Request, session: Session, _form: Form) -> Response:
        """Let it go on."""
        session.require(Scope.OPERATE)
        batch_id = known(request, "batch_id")
        await self._client.batches.resume(batch_id, actor=session.caller.actor)
        return _to(batch_id, paused=0)

    async def cancel(self, request: Request, session: Session, _form: Form) -> Response:
        """Cancel all of it that is open."""
        session.require(Scope.OPERATE)
        batch_id, caller = known(request, "batch_id"), session.caller
        results = await self._client.cancel_batch(batch_id, by=caller.name, actor=caller.actor)
        return _to(batch_id, cancelled=results[CancelResult.CANCELLED])

    async def redrive(self, request: Request, session: Session, _form: Form) -> Response:
        """Send again what of it is among the dead letters."""
        session.require(Scope.OPERATE)
        batch_id, caller = known(request, "batch_id"), session.caller
        receipts = await self._client.batches.redrive(batch_id, by=caller.name, actor=caller.actor)
        return _to(batch_id, redriven=len(receipts))


def _to(batch_id: str, **told: object) -> Response:
    return back(f"/console/batches/{quote(batch_id, safe='')}", **told)
