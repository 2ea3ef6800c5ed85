"""Who calls, and what they may do."""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from stopline.contract import Actor, Rate, short_key
from stopline_gateway.keys import Scope
from stopline_gateway.keys_file import LOOK_S
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.settings import PREFIX, is_loopback

if TYPE_CHECKING:
    from starlette.requests import Request

    from stopline.contract import StopRequest
    from stopline_gateway.keys import KeyLine
    from stopline_gateway.keys_file import KeysFile

_log = logging.getLogger(__name__)
_LOCAL: Final = "gateway"
"""Who calls where no keys are asked for, in the audit trail."""


class Caller(NamedTuple):
    """Whose key a call came with.

    Attributes:
        source: whom the key speaks for; None: anybody, where no keys are asked for.
        key_id: the key's id.
        scopes: what it may do.
        rate: how often.
        address: where the call came from.
    """

    source: str | None
    key_id: str | None
    scopes: frozenset[Scope]
    rate: Rate | None
    address: str | None

    @property
    def name(self) -> str:
        """Who it is, in records."""
        return self.source or _LOCAL

    @property
    def actor(self) -> Actor:
        """The same for the audit trail."""
        return Actor(self.name, self.key_id, self.address)

    def require(self, *scopes: Scope) -> None:
        """Refuse a call that needs a scope (any of these) which the key has not."""
        if self.scopes.isdisjoint(scopes):
            names = " or ".join(scopes)
            raise Problem(Kind.FORBIDDEN, f"This needs the scope {names}, which the key has not.")

    def own_key(self, key: str) -> str:
        """The idempotency key that a caller's own stands for: nobody can take another's.

        Where no keys are asked for, it is the same.
        """
        if self.source is None:
            return key
        return short_key(f"{self.source.replace('%', '%25').replace(':', '%3A')}:{key}")

    def own(self, wish: StopRequest) -> StopRequest:
        """A request as this caller may send it: with a key that is its own.

        Raises:
            Problem: it is part of a batch, for which the caller has no scope.
        """
        if wish.batch_id is not None:
            self.require(Scope.BULK)
        key = wish.idempotency_key
        if key is None or self.source is None:
            return wish
        return wish.model_copy(update={"idempotency_key": self.own_key(key)})

    def speak_for(self, source: str | None) -> str | None:
        """The source of something this caller sends, given what it says itself.

        Raises:
            Problem: it says that it is somebody else.
        """
        if self.source is None or source is None or source == self.source:
            return self.source or source
        raise Problem(
            Kind.FORBIDDEN,
            f"source: the key speaks for {self.source}, and for nobody else. Leave the field out.",
            field="source",
        )


_EVERYTHING: Final = frozenset(Scope)


class Access:
    """Tells who calls.

    Args:
        keys: the keys; None where none are asked for: then only this machine may call.
        rate: of keys whose lines name none.
    """

    def __init__(self, keys: KeysFile | None, rate: Rate | None) -> None:
        self._keys = keys
        self._rate = rate
        self._told_unasked = False

    def caller(self, request: Request, *scopes: Scope) -> Caller:
        """Who calls; raises `Problem` for a key that is missing, wrong, or not for this."""
        given = [value for name, value in request.scope["headers"] if name == b"authorization"]
        address = _address(request)
        if self._keys is None:
            _check_host(request)
            self._tell_unasked(given)
            return self._anybody(address)
        caller = self._with_key(self._keys, _bearer(given), address)
        caller.require(*scopes)
        return caller

    def check_still(self, caller: Caller) -> None:
        """Refuse to go on for a key that was revoked meanwhile; raises `Problem`."""
        if not self.is_still(caller):
            raise _unauthorized("This key was revoked meanwhile.")

    # --- the console, whose callers hold a session ----------------------------------------------

    @property
    def asks_for_keys(self) -> bool:
        """Whether a caller needs a key."""
        return self._keys is not None

    def login(self, request: Request, key: str | None) -> Caller:
        """Who gives this key at the console; raises `Problem` where it is wrong."""
        address = _address(request)
        if self._keys is None:
            _check_host(request)
            return self._anybody(address)
        return self._with_key(self._keys, key or "", address)

    def caller_of(self, request: Request, key_id: str | None, sha256: str | None) -> Caller | None:
        """Who logged in with the key of this id (and hash); None where that is no key any more."""
        line = None if self._keys is None else self._keys.line(key_id)
        if line is None or sha256 not in {None, line.sha256}:
            return None
        return self._caller(line, _address(request))

    def hash_of(self, key_id: str | None) -> str | None:
        """The hash of the key of an id: another key may get the same id."""
        line = None if self._keys is None else self._keys.line(key_id)
        return None if line is None else line.sha256

    def is_still(self, caller: Caller) -> bool:
        """Whether the key of a caller was not revoked meanwhile."""
        return self._keys is None or self._keys.has(caller.key_id)

    # ---------------------------------------------------------------------------------------------

    def _anybody(self, address: str | None) -> Caller:
        return Caller(None, None, _EVERYTHING, self._rate, address)

    def _tell_unasked(self, given: list[bytes]) -> None:
        """Whoever sends a key believes that it is looked at."""
        if given and not self._told_unasked:
            self._told_unasked = True
            _log.warning(
                "a call came with a key, and no keys are asked for here: set %sKEYS_FILE",
                PREFIX,
                extra={"action": "key_unasked"},
            )

    async def watch(self) -> None:
        """Look at the file of keys as long as the process lives: a wrong one is told at once."""
        while self._keys is not None:
            self._keys.look()
            await asyncio.sleep(LOOK_S)

    def warnings(self) -> list[str]:
        """What is wrong with the keys, for anybody: the log has the rest."""
        if self._keys is None or self._keys.is_current:
            return []
        return ["the keys file is wrong, so the keys of before stay: the log says where"]

    def _with_key(self, keys: KeysFile, key: str, address: str | None) -> Caller:
        line = keys.find(key)
        if line is None:
            raise _unauthorized("This key is not known here: it is wrong, or was revoked.")
        return self._caller(line, address)

    def _caller(self, line: KeyLine, address: str | None) -> Caller:
        rate = self._rate if line.rate is None else Rate.parse(line.rate)
        return Caller(line.source, line.id, frozenset(line.scopes), rate, address)


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None


def _bearer(given: list[bytes]) -> str:
    """The key in header fields Authorization; raises `Problem` where there is not one."""
    if not given:
        raise _unauthorized("Send the header field 'Authorization: Bearer <key>'.")
    if len(given) > 1:
        raise _unauthorized("The header field Authorization is there more than once.")
    kind, _, key = given[0].decode("latin-1").strip().partition(" ")
    if kind.lower() != "bearer":
        raise _unauthorized("The header field is 'Authorization: Bearer <key>'.")
    return key.strip()


def _unauthorized(detail: str) -> Problem:
    return Problem(Kind.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


_OF_PROXIES: Final = frozenset(
    {
        *(b"forwarded", b"via", b"x-real-ip", b"cf-connecting-ip"),
        *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"),
    }
)


def _check_host(request: Request) -> None:
    """Refuse a page of somebody else's that a browser on this machine shows, and a proxy's callers.

    Its host's name may lead here (DNS rebinding), so that the browser takes it for the same origin;
    but the name is in `Host`. A page of another server on this machine has another `Origin`.
    """
    host = origin = b""
    for name, value in request.scope["headers"]:
        if name == b"host":
            host = value
        elif name == b"origin":
            origin = value
        elif name in _OF_PROXIES:
            raise _keyless("not through a proxy")
        elif name == b"sec-fetch-site" and value == b"cross-site":
            raise _keyless("from no page of another site")
    if (
        b"@" in host
        or b"#" in host
        or not _is_local(b"//" + host)
        or (origin and origin.partition(b"//")[2] != host)
    ):
        raise _keyless("as localhost or 127.0.0.1")


def _keyless(how: str) -> Problem:
    return Problem(Kind.FORBIDDEN, f"Without keys, only this machine may call, {how}.")


@lru_cache(maxsize=64)
def _is_local(address: bytes) -> bool:
    try:
        host = urlsplit(address.decode("latin-1")).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
