"""What an operator does: each a form of a page, written into the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response

from stopline.contract import CancelResult
from stopline_gateway.console import choosing
from stopline_gateway.console.guard import html
from stopline_gateway.console.looking import FILTERS, filter_of
from stopline_gateway.console.rendering import render
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from stopline_gateway.console.guard import Form
    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services


class Acting:
    """Carries out what forms say."""

    def __init__(self, services: Services) -> None:
        self._client = services.client

    async def cancel_one(self, request: Request, session: Session, _form: Form) -> Response:
        """Cancel a request."""
        session.require(Scope.OPERATE)
        request_id = request.path_params["request_id"]
        caller = session.caller
        result = await self._client.cancel(request_id, by=caller.name, actor=caller.actor)
        if result is CancelResult.UNKNOWN:
            raise Problem(Kind.NOT_FOUND, f"The ledger knows no request {request_id}.")
        return _back(f"/console/requests/{quote(request_id, safe='')}", cancelled=result)

    async def preview_cancel(self, request: Request, session: Session) -> Response:
        """How many open requests a filter means, before they are cancelled."""
        session.require(Scope.OPERATE)
        wanted = filter_of(request.query_params)
        choosing.check_not_empty(wanted)
        _check_open(request.query_params.get("list", ""), wanted.outcome)
        count = await choosing.count_open(self._client, wanted)
        return html(
            render(
                "cancel.html",
                session=session,
                count=count,
                wanted=wanted,
                at_once=choosing.AT_ONCE_MAX,
                here="requests",
            )
        )

    async def cancel_some(self, _request: Request, session: Session, form: Form) -> Response:
        """Cancel open requests by a filter."""
        session.require(Scope.OPERATE)
        given = {name: form.one(name) for name in FILTERS}
        wanted = filter_of(given)
        choosing.check_not_empty(wanted)
        _check_open("", wanted.outcome)
        results, has_more = await choosing.cancel_open(self._client, wanted, session.caller)
        told = {
            "cancelled": results.get(CancelResult.CANCELLED, 0),
            "in_flight": results.get(CancelResult.NO_FURTHER_ATTEMPT, 0),
            **({"more": 1} if has_more else {}),
        }
        return _back("/console/requests", **{k: v for k, v in given.items() if v}, **told)

    async def cancel_batch(self, request: Request, session: Session, _form: Form) -> Response:
        """Cancel all of a batch that is open."""
        session.require(Scope.OPERATE)
        batch_id = request.path_params["batch_id"]
        caller = session.caller
        results = await self._client.cancel_batch(batch_id, by=caller.name, actor=caller.actor)
        place = f"/console/batches/{quote(batch_id, safe='')}"
        return _back(place, cancelled=results[CancelResult.CANCELLED])

    async def redrive(self, _request: Request, session: Session, form: Form) -> Response:
        """Send dead letters again."""
        session.require(Scope.OPERATE)
        letters = choosing.Letters.of(form)
        sent, kept = await choosing.redrive(self._client, letters, session.caller)
        return _back("/console/dead", redriven=sent, kept=kept)

    async def discard(self, _request: Request, session: Session, form: Form) -> Response:
        """Drop dead letters."""
        session.require(Scope.OPERATE)
        letters = choosing.Letters.of(form)
        dropped = await choosing.discard(self._client, letters, session.caller)
        return _back("/console/dead", discarded=dropped)


def _check_open(list_: str, outcome: object) -> None:
    if list_ == "ended" or outcome is not None:
        raise Problem(Kind.INVALID, "What has ended cannot be cancelled.", field="outcome")


def _back(place: str, **told: object) -> Response:
    """To a page that says what was done."""
    query = urlencode({name: str(value) for name, value in told.items()})
    return RedirectResponse(f"{place}?{query}" if query else place, 303)
