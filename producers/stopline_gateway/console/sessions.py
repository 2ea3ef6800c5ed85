"""Who looks at the console: a session in the ledger, so that every gateway knows it.

What a browser holds is a random token; the ledger has its hash, the id of the key that was given at
login, and the token of forms. A session ends with its time, with its key, and at logout.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stopline import AsyncStopClient
    from stopline_gateway.access import Access, Caller

LASTS_S: Final = 12 * 3600
SCOPES: Final = (Scope.READ, Scope.OPERATE)
_LOCAL: Final = "console"
_LOOK_S: Final = 10.0
_REMEMBERED_MAX: Final = 10_000
_TOKEN_BYTES: Final = 32
_TOKEN_CHARACTERS_MAX: Final = 100


class Session(NamedTuple):
    """Somebody who looks.

    Attributes:
        name: in the ledger: a hash of what the browser holds; empty where no keys are asked for.
        form_token: what every form of theirs carries.
        caller: who that is.
    """

    name: str
    form_token: str
    caller: Caller

    @property
    def key_id(self) -> str | None:
        """The key of the login; None where no keys are asked for."""
        return self.caller.key_id

    @property
    def may_act(self) -> bool:
        """Whether they may change something."""
        return Scope.OPERATE in self.caller.scopes

    def require(self, scope: Scope) -> None:
        """Refuse what the key may not do; raises `Problem`."""
        self.caller.require(scope)


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, client: AsyncStopClient, access: Access) -> None:
        self._client = client
        self._access = access
        self._looked_at: dict[str, float] = {}
        """When it was last looked whether a session is still in the ledger."""

    @property
    def asks_for_keys(self) -> bool:
        """Whether somebody has to log in."""
        return self._access.asks_for_keys

    async def begin(self, request: Request, caller: Caller) -> str:
        """Begin a session: what the browser is to hold.

        Whatever it held before is not used again, and ends: nobody can have chosen it.
        """
        before = await self.find(request)
        if before is not None:
            await self.end(before)
        token, form_token = (secrets.token_urlsafe(_TOKEN_BYTES) for _ in range(2))
        kept = {
            "key_id": caller.key_id,
            "sha256": self._access.hash_of(caller.key_id),
            "form_token": form_token,
        }
        await self._client.values.remember(_name(token), orjson.dumps(kept), LASTS_S)
        return token

    async def find(self, request: Request) -> Session | None:
        """Whose session a request belongs to; None: nobody's, or it is over.

        Raises:
            Problem: no keys are asked for, and the call is not from this machine.
        """
        if not self.asks_for_keys:
            return await self._of_this_machine(request)
        token = request.cookies.get(cookie_name(request))
        if not token or len(token) > _TOKEN_CHARACTERS_MAX:
            return None
        name = _name(token)
        raw = await self._client.values.recall(name)
        if raw is None:
            return None
        kept = orjson.loads(raw)
        caller = self._access.caller_of(request, kept["key_id"], kept["sha256"])
        if caller is None or caller.scopes.isdisjoint(SCOPES):
            return None
        return Session(name, kept["form_token"], caller)

    async def _of_this_machine(self, request: Request) -> Session:
        """One for all who may look without a key; its token of forms is that of all gateways."""
        caller = self._access.login(request, None)
        raw = await self._client.values.recall(_LOCAL)
        if raw is None:
            made = secrets.token_urlsafe(_TOKEN_BYTES).encode()
            await self._client.values.remember(_LOCAL, made, LASTS_S)
            raw = await self._client.values.recall(_LOCAL) or made
        return Session("", raw.decode(), caller)

    async def end(self, session: Session) -> None:
        """Log out."""
        self._looked_at.pop(session.name, None)
        if session.name:
            await self._client.values.forget(session.name)

    async def is_alive(self, request: Request, session: Session) -> bool:
        """Whether it goes on: its key at each look, itself in the ledger now and then."""
        if not session.name:
            return True
        current = self._access.caller_of(request, session.key_id, None)
        if current is None or current.scopes != session.caller.scopes:
            return False
        now = asyncio.get_running_loop().time()
        if now - self._looked_at.get(session.name, float("-inf")) < _LOOK_S:
            return True
        if len(self._looked_at) > _REMEMBERED_MAX:
            self._looked_at.clear()
        self._looked_at[session.name] = now
        return await self.find(request) is not None


def _name(token: str) -> str:
    return f"session:{hashlib.sha256(token.encode('utf-8', 'replace')).hexdigest()}"


def cookie_name(request: Request) -> str:
    """Over TLS one that only this host can set, and that is never sent without TLS."""
    return "__Host-stopline-console" if _is_secure(request) else "stopline-console"


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def set_cookie(request: Request, response: Response, token: str) -> None:
    """Have the browser hold a session."""
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=LASTS_S,
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )


def drop_cookie(request: Request, response: Response) -> None:
    """Have it forget it."""
    response.delete_cookie(
        cookie_name(request),
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )


def check_origin(request: Request) -> None:
    """Refuse a form that a page of somebody else's sends.

    Raises:
        Problem: it comes from elsewhere, or nothing says where it comes from.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise _from_elsewhere()
        return
    origin = urlsplit(request.headers.get("origin", ""))
    if not origin.netloc or origin.netloc != request.headers.get("host"):
        raise _from_elsewhere()


def check_form_token(session: Session, given: str) -> None:
    """Refuse a form that is none of this session's; raises `Problem`."""
    if not hmac.compare_digest(given.encode("utf-8", "replace"), session.form_token.encode()):
        raise Problem(
            Kind.FORBIDDEN, "This form is of another session: load the page again.", field="csrf"
        )


def _from_elsewhere() -> Problem:
    return Problem(Kind.FORBIDDEN, "The console takes forms of its own pages only.")
