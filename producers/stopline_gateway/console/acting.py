"""What an operator does: each a form of a page, written into the audit trail."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from stopline.contract import CancelResult, Lane
from stopline_gateway.console import choosing
from stopline_gateway.console.admission import html
from stopline_gateway.console.looking import filter_of, known
from stopline_gateway.console.rendering import render
from stopline_gateway.console.replies import back
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stopline_gateway.console.admission import Form
    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services


_DAY_MINUTES: Final = 24 * 60


class Act(StrEnum):
    """What is done with dead letters."""

    REDRIVE = "redrive"
    DISCARD = "discard"


class Acting:
    """Asks before, and carries out what forms say."""

    def __init__(self, services: Services) -> None:
        self._client = services.client
        self._sight = services.sight

    # --- requests -------------------------------------------------------------------------------

    async def cancel_one(self, request: Request, session: Session, _form: Form) -> Response:
        """Cancel a request."""
        session.require(Scope.OPERATE)
        request_id = known(request, "request_id")
        caller = session.caller
        result = await self._client.cancel(request_id, by=caller.name, actor=caller.actor)
        if result is CancelResult.UNKNOWN:
            raise Problem(Kind.NOT_FOUND, f"The ledger knows no request {request_id}.")
        return back(f"/console/requests/{quote(request_id, safe='')}", cancelled=result)

    async def preview_cancel(self, request: Request, session: Session) -> Response:
        """How many open requests a filter means, before they are cancelled."""
        session.require(Scope.OPERATE)
        query = request.query_params
        wanted = filter_of(query)
        choosing.check_not_empty(wanted)
        if query.get("list") == "ended" or wanted.outcome is not None:
            raise Problem(Kind.INVALID, "What has ended cannot be cancelled.", field="outcome")
        count = await choosing.count_open(self._client, wanted)
        return html(
            render(
                "cancel.html",
                session=session,
                count=count,
                wanted=wanted,
                chosen=choosing.written(wanted),
                at_once=choosing.AT_ONCE_MAX,
                here="requests",
            )
        )

    async def cancel_some(self, _request: Request, session: Session, form: Form) -> Response:
        """Cancel open requests by a filter."""
        session.require(Scope.OPERATE)
        wanted = choosing.read_filter(form.one("chosen"))
        results, has_more = await choosing.cancel_open(self._client, wanted, session.caller)
        shown = wanted.model_dump(mode="json", exclude_none=True)
        told = {
            "cancelled": results[CancelResult.CANCELLED],
            "in_flight": results[CancelResult.NO_FURTHER_ATTEMPT],
            **({"more": 1} if has_more else {}),
        }
        return back("/console/requests", **shown, **told)

    # --- lanes ----------------------------------------------------------------------------------

    async def pause_lane(self, _request: Request, session: Session, form: Form) -> Response:
        """Let the requests of a lane wait for some minutes."""
        session.require(Scope.OPERATE)
        minutes = form.one("minutes").strip()
        is_number = (
            minutes.isascii() and minutes.isdigit() and len(minutes) <= len(str(_DAY_MINUTES))
        )
        if not (is_number and 0 < int(minutes) <= _DAY_MINUTES):
            raise Problem(Kind.INVALID, "minutes: 1 to 1440 are needed.", field="minutes")
        caller = session.caller
        await self._client.gate.pause_lane(
            _lane(form),
            int(minutes) * 60.0,
            reason=form.one("reason").strip(),
            by=caller.name,
            actor=caller.actor,
        )
        self._sight.forget()
        return back("/console/workers", paused=1)

    async def resume_lane(self, _request: Request, session: Session, form: Form) -> Response:
        """Let a paused lane go on."""
        session.require(Scope.OPERATE)
        await self._client.gate.resume_lane(_lane(form), actor=session.caller.actor)
        self._sight.forget()
        return back("/console/workers", paused=0)

    # --- dead letters ---------------------------------------------------------------------------

    async def preview_letters(self, request: Request, session: Session) -> Response:
        """Which dead letters are meant, before they are sent again or dropped."""
        session.require(Scope.OPERATE)
        query = request.query_params
        act = query.get("act", "")
        if act not in set(Act):
            raise Problem(Kind.INVALID, "act: redrive or discard.", field="act")
        letters = choosing.letters_of(query, query.getlist("id"))
        letters = letters._replace(until=await self._client.now())
        if letters.is_empty:
            raise Problem(Kind.INVALID, "Choose which dead letters are meant.")
        found = await letters.found(self._client)
        kept = 0 if act == Act.DISCARD else len(found) - len(choosing.sendable(found))
        return html(
            render(
                "letters.html",
                session=session,
                count=len(found) - kept,
                kept=kept,
                letters=letters,
                act=act,
                chosen=choosing.written(letters),
                here="dead",
            )
        )

    async def act_on_letters(self, _request: Request, session: Session, form: Form) -> Response:
        """Send dead letters again, or drop them."""
        session.require(Scope.OPERATE)
        letters = choosing.read_letters(form.one("chosen"))
        if form.one("act") == Act.REDRIVE:
            sent, kept = await choosing.redrive(self._client, letters, session.caller)
            return back("/console/dead", redriven=sent, kept=kept)
        if form.one("act") == Act.DISCARD:
            dropped = await choosing.discard(self._client, letters, session.caller)
            return back("/console/dead", discarded=dropped)
        raise Problem(Kind.INVALID, "act: redrive or discard.", field="act")


def _lane(form: Form) -> Lane:
    try:
        return Lane(form.one("lane"))
    except ValueError:
        raise Problem(Kind.INVALID, "lane: there is no such lane.", field="lane") from None
