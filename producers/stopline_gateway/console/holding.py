"""What an operator does with guards: lets go what they hold, drops it, lets one begin anew."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from stopline.contract import HoldResult
from stopline_gateway.console.admission import html
from stopline_gateway.console.rendering import render
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from stopline_gateway.console.admission import Form
    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services

AT_ONCE_MAX: Final = 10_000
"""Held requests that one action lets go or drops."""
_CHUNK: Final = 250
_PLACE: Final = "/console/guards"


class Act(StrEnum):
    """What is done with held requests."""

    RELEASE = "release"
    DISCARD = "discard"


class Holding:
    """Asks before, and carries out what forms say."""

    def __init__(self, services: Services) -> None:
        self._guards = services.client.guards
        self._sight = services.sight

    async def preview(self, request: Request, session: Session) -> Response:
        """How many a guard holds, before they are let go or dropped."""
        session.require(Scope.OPERATE)
        act, source = _act(request.query_params.get("act")), request.query_params.get("guard", "")
        views = (await self._guards.look()).views
        view = next((one for one in views if one.source == source), None)
        if view is None:
            raise Problem(Kind.NOT_FOUND, "There is no guard of that source.")
        text = render(
            "held_act.html",
            session=session,
            view=view,
            act=act,
            at_once=AT_ONCE_MAX,
            here="guards",
        )
        return html(text)

    async def act(self, _request: Request, session: Session, form: Form) -> Response:
        """Let go what a guard holds, or drop it: one of them, or all of this moment."""
        session.require(Scope.OPERATE)
        act, source = _act(form.one("act")), form.one("guard")
        ids = form.all("id") or await self._ids(source)
        results: Counter[HoldResult] = Counter()
        for first in range(0, len(ids), _CHUNK):
            results.update(await self._done(ids[first : first + _CHUNK], act, session))
        self._sight.forget()
        gone = (HoldResult.RELEASED, HoldResult.WAITING, HoldResult.CANCELLED)
        done = sum(results[kind] for kind in gone)
        told = {"guard": source, act: done, "moot": results.total() - done}
        return RedirectResponse(f"{_PLACE}?{urlencode(told)}", 303)

    async def reset(self, _request: Request, session: Session, form: Form) -> Response:
        """Let a guard begin anew."""
        session.require(Scope.OPERATE)
        if await self._guards.reset(form.one("guard"), actor=session.caller.actor) is None:
            raise Problem(Kind.NOT_FOUND, "There is no guard of that source.")
        self._sight.forget()
        return RedirectResponse(f"{_PLACE}?reset=1", 303)

    async def _ids(self, source: str) -> list[str]:
        found: list[str] = []
        async for one in self._guards.held(source):
            found.append(one.request_id)
            if len(found) >= AT_ONCE_MAX:
                break
        return found

    async def _done(self, ids: list[str], act: Act, session: Session) -> list[HoldResult]:
        caller = session.caller
        if act is Act.RELEASE:
            results = await self._guards.release(ids, actor=caller.actor)
        else:
            results = await self._guards.discard(ids, by=caller.name, actor=caller.actor)
        return list(results.values())


def _act(given: str | None) -> Act:
    try:
        return Act(given or "")
    except ValueError:
        raise Problem(Kind.INVALID, "act: release or discard.", field="act") from None
