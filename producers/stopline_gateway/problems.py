"""What went wrong, for programs and for people: problem documents (RFC 9457), all from here."""

from __future__ import annotations

import logging
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from stopline.errors import (
    IdempotencyConflictError,
    InvalidRequestError,
    LedgerFullError,
    StoplineError,
    UnavailableError,
    UnknownRequestError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

_log = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/problem+json"
_AGAIN_S: Final = 1
_FULL_AGAIN_S: Final = 5


class _Told(NamedTuple):
    name: str
    status: int
    title: str


class Kind(_Told, Enum):
    """Everything that may be wrong; docs/gateway.md explains each."""

    MALFORMED = _Told("malformed", 400, "The request cannot be read.")
    UNAUTHORIZED = _Told("unauthorized", 401, "A valid key is needed.")
    FORBIDDEN = _Told("forbidden", 403, "The key does not allow this.")
    NOT_FOUND = _Told("not-found", 404, "There is no such thing.")
    METHOD = _Told("method-not-allowed", 405, "This cannot be done here.")
    TOO_SLOW = _Told("too-slow", 408, "The request took too long to come.")
    CONFLICT = _Told(
        "idempotency-conflict", 409, "The idempotency key was used for another target."
    )
    OUTCOMES_OFF = _Told("outcomes-off", 409, "Outcomes are not kept as a stream.")
    NO_ARCHIVE = _Told("no-archive", 404, "There is no archive to look into.")
    CHANGED = _Told("changed-meanwhile", 409, "Somebody else has changed it.")
    TOO_LARGE = _Told("too-large", 413, "The body is too large.")
    MEDIA_TYPE = _Told(
        "unsupported-media-type", 415, "The body is in no format that is known here."
    )
    INVALID = _Told("invalid-request", 422, "A field is wrong; nothing was accepted.")
    RATE = _Told("rate-exceeded", 429, "The key calls more often than it may.")
    HEAD = _Told("head-too-large", 431, "The header fields are too large.")
    INTERNAL = _Told("internal", 500, "Something here is broken.")
    BUSY = _Told("busy", 503, "Too many wait here already.")
    CLOSING = _Told("closing", 503, "This process ends; another one will answer.")
    FULL = _Told("ledger-full", 503, "Redis is close to its memory limit.")
    UNAVAILABLE = _Told("unavailable", 503, "The ledger cannot be reached.")

    @property
    def uri(self) -> str:
        """The `type` of its documents."""
        return f"urn:stopline:problem:{self.value.name}"


class Problem(Exception):  # noqa: N818  # RFC 9457 calls it so
    """Something that is wrong with a request, or with what it needs.

    Args:
        kind: what.
        detail: this occurrence, for a person: what to do.
        field: the field at fault.
        headers: header fields of the reply.
        more: members of the document beside those of every one.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        field: str | None = None,
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.field = field
        self.headers = headers or {}
        self.more = more or {}

    def document(self) -> dict[str, Any]:
        """The problem document."""
        told = self.kind.value
        known = {"type": self.kind.uri, "title": told.title, "status": told.status}
        field = {"field": self.field} if self.field else {}
        return {**known, "detail": self.detail, **field, **self.more}

    def response(self) -> Response:
        """The reply."""
        return Response(
            orjson.dumps(self.document()),
            status_code=self.kind.value.status,
            media_type=MEDIA_TYPE,
            headers=self.headers,
        )

    @classmethod
    def of(cls, error: StoplineError, **more: Any) -> Problem:
        """What an error of Stopline says to a caller."""
        match error:
            case IdempotencyConflictError():
                return cls(Kind.CONFLICT, str(error), field=error.field, more=more)
            case InvalidRequestError():
                return cls(Kind.INVALID, str(error), field=error.field, more=more)
            case UnknownRequestError():
                return cls(Kind.NOT_FOUND, str(error), more=more)
            case LedgerFullError():
                detail = "New requests are refused, so that open ones can settle. Repeat it later."
                return cls(Kind.FULL, detail, headers=retry_after(_FULL_AGAIN_S), more=more)
            case UnavailableError():
                # What Redis said names hosts and ports, which are not for callers.
                detail = (
                    "Nothing is known to have been accepted. Repeat it, with the same "
                    "Idempotency-Key or batch_id: nothing is doubled."
                )
                return cls(Kind.UNAVAILABLE, detail, headers=retry_after(_AGAIN_S), more=more)
            case _:
                return cls(Kind.INTERNAL, "The log of the gateway says what.", more=more)


def retry_after(seconds: float) -> dict[str, str]:
    """The header field that says when to come back, in whole seconds."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def install(app: FastAPI) -> None:
    """Have every error of an app end as a problem document."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(StoplineError, _stopline_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _anything)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  # that is what it is installed for
    return error.response()


async def _stopline_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StoplineError)  # noqa: S101
    problem = Problem.of(error)
    if problem.kind in {Kind.UNAVAILABLE, Kind.INTERNAL}:
        _log.warning("%s %s: %s", request.method, request.url.path, error, extra=_FAILED)
    return problem.response()


_FAILED: Final = {"action": "call_failed"}


async def _http_exception(request: Request, error: Exception) -> Response:
    """What the router says: no such path, no such method there, a body it could not read."""
    assert isinstance(error, HTTPException)  # noqa: S101
    kinds = {404: Kind.NOT_FOUND, 405: Kind.METHOD, 413: Kind.TOO_LARGE}
    kind = kinds.get(error.status_code, Kind.MALFORMED)
    detail = {
        Kind.NOT_FOUND: "There is nothing at this path: see /docs.",
        Kind.METHOD: "The path is right, the method is not: see the header field Allow.",
    }.get(kind, str(error.detail))
    headers = dict(error.headers or {})
    if kind is Kind.METHOD:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return Problem(kind, detail, headers=headers).response()


def _methods(request: Request) -> set[str]:
    """The methods of a path; the router tells those of its first route only."""
    found: set[str] = set()
    for route in request.app.state.routes:
        matched, _ = route.matches(request.scope)
        if matched is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found


async def _validation_error(_request: Request, error: Exception) -> Response:
    """Parameters of path and query."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return Problem(Kind.INVALID, f"{field}: {first['msg']}", field=field).response()


async def _anything(request: Request, error: Exception) -> Response:
    # Its traceback is told by uvicorn.
    _log.error("%s %s: %r", request.method, request.url.path, error, extra=_FAILED)
    return Problem(Kind.INTERNAL, "The log of the gateway says what.").response()
