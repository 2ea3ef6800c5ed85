"""The console's routes."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

import stopline
from stopline_gateway.console.acting import Acting
from stopline_gateway.console.guard import (
    HOME,
    LOGIN,
    for_actions,
    for_viewers,
    guarded,
    html,
    read_form,
)
from stopline_gateway.console.live import Live
from stopline_gateway.console.looking import CHOICES, FILTERS, Looking
from stopline_gateway.console.rendering import ASSETS, ASSETS_VERSION, render
from stopline_gateway.console.sessions import Sessions, check_origin, drop_cookie, set_cookie
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from stopline_gateway.console.live import Body
    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services

_TOLD: Final = ("cancelled", "in_flight", "redriven", "kept", "discarded", "more")
"""What a page says of the action before it; figures and words of Stopline's own."""


class Console:
    """Pages, their live streams, and the forms on them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions = Sessions(services.client, services.access)
        self._looking = Looking(services)
        self._acting = Acting(services)
        self._live = Live(services, self._sessions, self._looking)

    def routes(self) -> list[Route]:
        """All of them."""
        look, act = self._looking, self._acting
        return [
            Route("/console", _to_home),
            Route("/console/assets/{name}", _asset),
            Route(LOGIN, guarded(self._login_page)),
            Route(LOGIN, guarded(self._login), methods=["POST"]),
            self._form("/logout", self._logout),
            Route("/console/search", for_viewers(self._sessions, self._search)),
            *self._page("/", "overview", look.overview),
            Route("/console/requests/cancel", for_viewers(self._sessions, act.preview_cancel)),
            *self._page("/requests", "requests", look.requests),
            *self._page("/requests/{request_id}", "request", look.request),
            *self._page("/targets/{user_id}/{task_id}", "target", look.target),
            *self._page("/targets/{user_id}/{task_id}/{sub_user_id}", "target", look.target),
            *self._page("/batches", "batches", look.batches),
            *self._page("/batches/{batch_id}", "batch", look.batch),
            *self._page("/dead", "dead", look.dead),
            *self._page("/dead/{letter_id}", "letter", look.letter),
            *self._page("/workers", "workers", look.workers),
            *self._page("/audit", "audit", look.audit),
            self._form("/requests/cancel", act.cancel_some),
            self._form("/requests/{request_id}/cancel", act.cancel_one),
            self._form("/batches/{batch_id}/cancel", act.cancel_batch),
            self._form("/dead/redrive", act.redrive),
            self._form("/dead/discard", act.discard),
        ]

    def _page(self, path: str, name: str, body: Body) -> list[Route]:
        """A page, and the same as it changes."""

        async def page(request: Request, session: Session) -> Response:
            query = request.url.query
            live = f"/console/live{request.url.path.removeprefix('/console')}"
            text = render(
                f"{name}.html",
                body=await body(request, session),
                session=session,
                here=name,
                live=f"{live}?{query}" if query else live,
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

        return [
            Route(f"/console{path}", for_viewers(self._sessions, page)),
            Route(f"/console/live{path}", for_viewers(self._sessions, stream)),
        ]

    def _form(self, path: str, act: Any) -> Route:
        endpoint = for_actions(self._services, self._sessions, act)
        return Route(f"/console{path}", endpoint, methods=["POST"])

    # --- in and out -------------------------------------------------------------------------------

    async def _login_page(self, request: Request) -> Response:
        if not self._sessions.asks_for_keys or await self._sessions.find(request):
            return RedirectResponse(HOME, 303)
        to = _own_place(request.query_params.get("to", ""))
        return html(render("login.html", to=to, wrong=None, session=None))

    async def _login(self, request: Request) -> Response:
        check_origin(request)
        form = await read_form(request, self._services)
        to = _own_place(form.one("to"))
        try:
            token, session = await self._sessions.begin(request, form.one("key").strip())
        except Problem as problem:
            if problem.kind not in {Kind.UNAUTHORIZED, Kind.FORBIDDEN}:
                raise
            text = render("login.html", to=to, wrong=problem.detail, session=None)
            return html(text, problem.kind.value.status)
        await self._services.rates.take(session.caller)
        response = RedirectResponse(to, 303)
        set_cookie(request, response, token)
        return response

    async def _logout(self, request: Request, session: Session, _form: object) -> Response:
        await self._sessions.end(session)
        response = RedirectResponse(LOGIN, 303)
        drop_cookie(request, response)
        return response

    async def _search(self, request: Request, _session: Session) -> Response:
        text = request.query_params.get("q", "").strip()
        return RedirectResponse(await self._looking.search(text) if text else HOME, 303)


def _told(request: Request) -> dict[str, str]:
    """What was done before this page was shown."""
    query = request.query_params
    return {name: query[name] for name in _TOLD if name in query}


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
