"""The console's routes."""

from __future__ import annotations

from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

import stopline
from stopline.bulk.reporting import ReportFormat
from stopline.contract import CancelResult
from stopline_gateway.console.acting import Acting
from stopline_gateway.console.admission import (
    HOME,
    LOGIN,
    for_actions,
    for_viewers,
    guarded,
    html,
    read_form,
)
from stopline_gateway.console.batch_acts import BatchActs
from stopline_gateway.console.holding import Holding
from stopline_gateway.console.live import Live
from stopline_gateway.console.looking import CHOICES, FILTERS, Looking, known
from stopline_gateway.console.past import Past
from stopline_gateway.console.rendering import ASSETS, ASSETS_VERSION, render
from stopline_gateway.console.sessions import (
    SCOPES,
    Sessions,
    check_origin,
    drop_cookie,
    set_cookie,
)
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.reports import Told, report_reply

if TYPE_CHECKING:
    from starlette.requests import Request

    from stopline_gateway.console.admission import Handler
    from stopline_gateway.console.live import Body
    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services

_TOLD: Final = (
    *("cancelled", "in_flight", "redriven", "kept", "discarded", "more", "paused"),
    *("release", "discard", "moot", "reset"),
)
"""What a page says of the action before it."""
_DIGITS_MAX: Final = 12


class Console:
    """Pages, their live streams, and the forms on them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions = Sessions(services.client, services.access)
        self._looking = Looking(services)
        self._acting = Acting(services)
        self._of_batch = BatchActs(services)
        self._holding = Holding(services)
        self._past = Past(services)
        self._live = Live(services, self._sessions, self._looking)

    def routes(self) -> list[Route]:
        """All of them."""
        look, act, hold = self._looking, self._acting, self._holding
        of_batch = self._of_batch
        return [
            Route("/console", _to_home),
            Route("/console/assets/{name}", _asset),
            Route(LOGIN, guarded(self._login_page)),
            Route(LOGIN, guarded(self._login), methods=["POST"]),
            self._form("/logout", self._logout),
            self._look("/search", self._search),
            *self._page("/", "overview", look.overview),
            self._look("/requests/cancel", act.preview_cancel),
            *self._page("/requests", "requests", look.requests),
            *self._page("/requests/{request_id}", "request", look.request),
            *self._page("/targets/{user_id}/{task_id}", "target", look.target),
            *self._page("/targets/{user_id}/{task_id}/{sub_user_id}", "target", look.target),
            *self._page("/batches", "batches", look.batches),
            *self._page("/batches/{batch_id}", "batch", look.batch),
            self._file("/batches/{batch_id}", Told.REPORT),
            self._file("/batches/{batch_id}", Told.UNDO),
            *self._page("/dead", "dead", look.dead),
            self._look("/dead/act", act.preview_letters),
            *self._page("/dead/{letter_id}", "letter", look.letter),
            *self._page("/guards", "guards", look.guards),
            self._look("/guards/act", hold.preview),
            *self._page("/workers", "workers", look.workers),
            *self._page("/history", "history", self._past.page, is_live=False),
            *self._page("/audit", "audit", look.audit),
            self._form("/guards/act", hold.act),
            self._form("/guards/reset", hold.reset),
            self._form("/lanes/pause", act.pause_lane),
            self._form("/lanes/resume", act.resume_lane),
            self._form("/requests/cancel", act.cancel_some),
            self._form("/requests/{request_id}/cancel", act.cancel_one),
            self._form("/batches/{batch_id}/pause", of_batch.pause),
            self._form("/batches/{batch_id}/resume", of_batch.resume),
            self._form("/batches/{batch_id}/cancel", of_batch.cancel),
            self._form("/batches/{batch_id}/redrive", of_batch.redrive),
            self._form("/dead/act", act.act_on_letters),
            self._look("/{elsewhere:path}", _nothing),
        ]

    def _page(self, path: str, name: str, body: Body, *, is_live: bool = True) -> list[Route]:
        """A page, and the same as it changes."""

        async def page(request: Request, session: Session) -> Response:
            query = request.url.query
            live = f"/console/live{request.url.path.removeprefix('/console')}"
            text = render(
                f"{name}.html",
                body=await body(request, session),
                session=session,
                here=name,
                live=(f"{live}?{query}" if query else live) if is_live else None,
                query=request.query_params,
                path=request.path_params,
                choices=CHOICES,
                filters=FILTERS,
                told=_told(request),
                version=stopline.__version__,
                asks_for_keys=self._sessions.asks_for_keys,
            )
            return html(text)

        async def stream(request: Request, session: Session) -> Response:
            return await self._live.stream(request, session, body)

        pages = [self._look(path, page)]
        return [*pages, self._look(f"/live{path}", stream)] if is_live else pages

    def _look(self, path: str, handler: Handler) -> Route:
        return Route(f"/console{path}", for_viewers(self._services, self._sessions, handler))

    def _file(self, path: str, what: Told) -> Route:
        """What a page of a batch hands out as CSV."""

        async def file(request: Request, session: Session) -> Response:
            batch_id = known(request, "batch_id")
            services = self._services
            return await report_reply(services, session.caller, batch_id, what, ReportFormat.CSV)

        return self._look(f"{path}/{what}", file)

    def _form(self, path: str, act: Any) -> Route:
        endpoint = for_actions(self._services, self._sessions, act)
        return Route(f"/console{path}", endpoint, methods=["POST"])

    # --- in and out -------------------------------------------------------------------------------

    async def _login_page(self, request: Request) -> Response:
        if await self._sessions.find(request):
            return RedirectResponse(HOME, 303)
        to = _own_place(request.query_params.get("to", ""))
        return html(render("login.html", to=to, wrong=None, session=None))

    async def _login(self, request: Request) -> Response:
        check_origin(request)
        form = await read_form(request, self._services)
        to = _own_place(form.one("to"))
        try:
            caller = self._services.access.login(request, form.one("key").strip())
            caller.require(*SCOPES)
        except Problem as problem:
            if problem.kind not in {Kind.UNAUTHORIZED, Kind.FORBIDDEN}:
                raise
            text = render("login.html", to=to, wrong=problem.detail, session=None)
            return html(text, problem.kind.value.status)
        await self._services.rates.take(caller)
        token = await self._sessions.begin(request, caller)
        response = RedirectResponse(to, 303)
        set_cookie(request, response, token)
        return response

    async def _logout(self, request: Request, session: Session, _form: object) -> Response:
        await self._sessions.end(session)
        response = RedirectResponse(LOGIN, 303)
        drop_cookie(request, response)
        return response

    async def _search(self, request: Request, session: Session) -> Response:
        text = request.query_params.get("q", "").strip()
        place = await self._looking.search(text) if text else HOME
        if place is None:
            page = render("search.html", session=session, text=text, here="search")
            return html(page, HTTPStatus.NOT_FOUND)
        return RedirectResponse(place, 303)


async def _nothing(_request: Request, _session: Session) -> Response:
    raise Problem(Kind.NOT_FOUND, "The console has no such page.")


def _told(request: Request) -> dict[str, str]:
    """What was done before this page was shown; figures and words of Stopline's own, no others."""
    query = request.query_params
    given = {name: query[name] for name in _TOLD if name in query}
    words = set(CancelResult)
    return {
        name: value
        for name, value in given.items()
        if value in words or (value.isascii() and value.isdigit() and len(value) < _DIGITS_MAX)
    }


def _own_place(place: str) -> str:
    """A place of this console; anything else leads to its first page."""
    is_own = place.startswith("/console/") and not place.startswith("/console/live")
    return place if is_own and "\\" not in place and place.isprintable() else HOME


async def _to_home(request: Request) -> Response:
    query = urlencode(list(request.query_params.multi_items()))
    return RedirectResponse(f"{HOME}?{query}" if query else HOME, 308)


async def _asset(request: Request) -> Response:
    """A file of ours: not secret, since the login needs them; with its version it may be kept."""
    name = request.path_params["name"]
    kind = ASSETS.get(name)
    if kind is None:
        raise Problem(Kind.NOT_FOUND, "There is no such file.")
    content = resources.files("stopline_gateway.console").joinpath("assets", name).read_bytes()
    headers = {"Content-Type": f"{kind}; charset=utf-8"}
    if request.query_params.get("v") == ASSETS_VERSION:
        headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return Response(content, headers=headers)
