"""Around every page: who looks, what a browser may do with it, and how errors are shown."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote

from starlette.responses import HTMLResponse, RedirectResponse, Response

from stopline.errors import StoplineError
from stopline_gateway.bodies import media_type, read, require
from stopline_gateway.console.rendering import render
from stopline_gateway.console.sessions import check_form_token, check_origin
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from stopline_gateway.console.sessions import Session, Sessions
    from stopline_gateway.services import Services

    Handler = Callable[[Request, Session], Awaitable[Response]]
    """What makes a page for somebody."""
    Endpoint = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger(__name__)
HOME: Final = "/console/"
LOGIN: Final = "/console/login"
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Frame-Options": "DENY",
    # With no-referrer a browser says `Origin: null` of our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FIELDS_MAX: Final = 1_100


def html(text: str, status: int = 200) -> Response:
    """A page."""
    return HTMLResponse(text, status)


def guarded(handler: Endpoint) -> Endpoint:
    """A page for anybody: with the header fields of all, and errors as pages."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        try:
            response = await handler(request)
        except Problem as problem:
            response = _problem_page(problem)
        except StoplineError as error:
            told = Problem.of(error)
            if told.kind in {Kind.UNAVAILABLE, Kind.INTERNAL}:
                _log.warning("console: %s", error, extra={"action": "call_failed"})
            response = _problem_page(told)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response

    return endpoint


def _problem_page(problem: Problem) -> Response:
    told = problem.kind.value
    text = render("problem.html", problem=problem, told=told, session=None)
    response = html(text, told.status)
    response.headers.update(problem.headers)
    return response


def for_viewers(services: Services, sessions: Sessions, handler: Handler) -> Endpoint:
    """A page for who is logged in; others are led to the login, and back."""

    async def endpoint(request: Request) -> Response:
        if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"} and (
            request.headers.get("sec-fetch-mode") != "navigate"
        ):
            raise Problem(Kind.FORBIDDEN, "The console is for its own pages only.")
        session = await sessions.find(request)
        if session is None:
            return _to_login(request)
        await services.rates.take(session.caller)
        return await handler(request, session)

    return guarded(endpoint)


def _to_login(request: Request) -> Response:
    """An event stream must not be answered with a page: the browser would ask for ever."""
    if request.url.path.startswith("/console/live/"):
        return Response("log in again", 401, media_type="text/plain")
    place = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{LOGIN}?to={quote(place, safe='')}", 303)


def for_actions(services: Services, sessions: Sessions, act: Callable[..., Any]) -> Endpoint:
    """A form of who is logged in: of this session, from a page of this console."""

    async def endpoint(request: Request) -> Response:
        check_origin(request)
        form = await read_form(request, services)
        session = await sessions.find(request)
        if session is None:
            return _to_login(request)
        check_form_token(session, form.one("csrf"))
        await services.rates.take(session.caller)
        response: Response = await act(request, session, form)
        return response

    return guarded(endpoint)


class Form:
    """The fields of a form."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def one(self, name: str) -> str:
        """A field's value; empty where there is none. Raises `Problem` where there are several."""
        found = self.all(name)
        if len(found) > 1:
            raise Problem(Kind.INVALID, f"{name}: it is there more than once.", field=name)
        return found[0] if found else ""

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self._pairs if key == name]


async def read_form(request: Request, services: Services) -> Form:
    """The fields of a form that a request brings; raises `Problem`."""
    require(media_type(request), "application/x-www-form-urlencoded")
    raw = await read(request, services.whole)
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"
        )
    except ValueError:
        raise Problem(Kind.MALFORMED, "This is no form.") from None
    return Form(pairs)
