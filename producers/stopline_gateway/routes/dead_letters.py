"""`/v1/dead-letters`: what was not stopped, and messages that nobody could handle."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request

from stopline.contract import (
    DeadFilter,
    DeadMessage,
    Moment,
    OutcomeKind,
    from_microseconds,
    to_microseconds,
)
from stopline.errors import StoplineError, UnknownRequestError
from stopline_gateway.bodies import read_document
from stopline_gateway.documents import DeadPage, Discarded, Letters, Redriven
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.routes.parameters import Only
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.responses import Response

    from stopline import AsyncStopClient
    from stopline.contract import DeadLetter

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"], route_class=DirectRoute)
_A_CALL_MAX: Final = 1_000
"""Letters that one call sends again or drops."""
_LOOKED_AT_MAX: Final = 10_000
"""Letters that one call looks at: what a filter leaves out costs as much."""
_CHUNK: Final = 250
_KEPT_SHOWN_MAX: Final = 100
_BODY: Final = body_of(
    {"application/json": {"schema": {"$ref": f"#/components/schemas/{Letters.__name__}"}}}
)


@router.get(
    "",
    operation_id="listDeadLetters",
    summary="What was not stopped, the newest first",
    response_model=None,
    responses={
        200: {"description": "A page.", "model": DeadPage},
        **problems(),
    },
)
async def list_dead_letters(  # each is a parameter of the query
    request: Request,
    outcome: Annotated[OutcomeKind | None, Query(description="Only these.")] = None,
    user_id: Only = None,
    batch_id: Only = None,
    since: Annotated[Moment | None, Query(description="Only those that ended since.")] = None,
    limit: Annotated[int, Query(ge=1, le=_CHUNK)] = 100,
    cursor: Annotated[
        str | None,
        Query(
            max_length=8_000,
            pattern="^[A-Za-z0-9_=-]+$",
            description="`next` of the page before.",
        ),
    ] = None,
) -> Response:
    """Requests that ended other than `stopped`, `superseded` or `cancelled`; and messages."""
    services = services_of(request)
    await services.admit(request, Scope.READ)
    wanted = DeadFilter(outcome=outcome, user_id=user_id, batch_id=batch_id, since=since)
    page = _Page(limit, None if cursor is None else _Cursor.parse(cursor))
    until = None if page.cursor is None else page.cursor.until
    letters = services.client.dead_letters(since=since, until=until, newest_first=True)
    async for letter in letters:
        if page.add(letter, is_wanted=wanted.matches(letter)):
            break
    found = [letter.to_json() for letter in page.letters]
    return json_reply({"letters": found, "next": page.next()})


class _Cursor:
    """Where a page ended: when the last letter died, and digests of those that died with it."""

    def __init__(self, at: datetime, seen: frozenset[str]) -> None:
        self.at = at
        self.seen = seen

    @property
    def until(self) -> datetime:
        """The end of that millisecond: documents have no microseconds."""
        return self.at + timedelta(microseconds=999)

    @classmethod
    def parse(cls, text: str) -> _Cursor:
        """A cursor from a query; raises `Problem`."""
        try:
            at, seen = orjson.loads(base64.urlsafe_b64decode(text))
            cursor = cls(from_microseconds(int(at)), frozenset(map(str, seen)))
            _ = cursor.until
            return cursor  # noqa: TRY300  # what is wrong with it may show in `until`
        except (ValueError, TypeError, OverflowError):
            raise Problem(Kind.INVALID, "cursor: this is none.", field="cursor") from None

    def __str__(self) -> str:
        plain = [to_microseconds(self.at), sorted(self.seen)]
        return base64.urlsafe_b64encode(orjson.dumps(plain)).decode()


class _Page:
    """Letters until there are enough, or enough were looked at."""

    def __init__(self, limit: int, cursor: _Cursor | None) -> None:
        self.cursor = cursor
        self.letters: list[DeadLetter] = []
        self._limit = limit
        self._looked_at = 0
        self._last: _Cursor | None = None
        self._is_full = False

    def add(self, letter: DeadLetter, *, is_wanted: bool) -> bool:
        """Look at one; whether the page ends with it."""
        letter_id, at = _id_and_end(letter)
        digest = _digest(letter_id)
        if self.cursor is not None and digest in self.cursor.seen:
            return False
        seen = {digest}
        for before in (self._last, self.cursor):
            if before is not None and before.at == at:
                seen |= before.seen
        self._last = _Cursor(at, frozenset(seen))
        self._looked_at += 1
        if is_wanted:
            self.letters.append(letter)
        self._is_full = len(self.letters) >= self._limit or self._looked_at >= _LOOKED_AT_MAX
        return self._is_full

    def next(self) -> str | None:
        """The cursor of the next page; None where there is none."""
        return str(self._last) if self._is_full else None


def _digest(letter_id: str) -> str:
    """A short name of an id: of those that died in one millisecond no two have the same."""
    hashed = hashlib.blake2b(letter_id.encode(), digest_size=6).digest()
    return base64.urlsafe_b64encode(hashed).decode()


def _id_and_end(letter: DeadLetter) -> tuple[str, datetime]:
    if isinstance(letter, DeadMessage):
        return letter.message_id, letter.quarantined_at
    return letter.request_id, letter.finished_at


def _must_stay(letter: DeadLetter) -> bool:
    return isinstance(letter, DeadMessage) and not letter.can_be_redriven


@router.post(
    "/redrive",
    operation_id="redriveDeadLetters",
    summary="Send dead letters again",
    response_model=None,
    responses={
        200: {"description": "What became of them.", "model": Redriven},
        **problems(*BODY, Kind.NOT_FOUND, Kind.FULL),
    },
    openapi_extra=_BODY,
)
async def redrive(request: Request) -> Response:
    """Each request as a new one, issued now; each message back to its queue.

    Two who do it at once do it once.
    """
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    chosen = _Chosen(services.client, await _letters(request), passes_over=_must_stay)
    receipts: dict[str, Any] = {}
    messages = 0
    try:
        async for letters in chosen.chunks():
            again = await services.client.redrive(letters, by=caller.name, actor=caller.actor)
            receipts |= {old: receipt.to_json() for old, receipt in again.items()}
            messages += sum(isinstance(one, DeadMessage) for one in letters)
    except StoplineError as error:
        raise Problem.of(error, receipts=receipts, messages=messages) from error
    return json_reply({"receipts": receipts, "messages": messages, **chosen.left()})


@router.post(
    "/discard",
    operation_id="discardDeadLetters",
    summary="Drop dead letters",
    response_model=None,
    responses={
        200: {"description": "How many.", "model": Discarded},
        **problems(*BODY, Kind.NOT_FOUND),
    },
    openapi_extra=_BODY,
)
async def discard(request: Request) -> Response:
    """An outcome stays readable under its id until its time is over; a message is gone."""
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    chosen = _Chosen(services.client, await _letters(request))
    discarded = 0
    try:
        async for letters in chosen.chunks():
            ids = [_id_and_end(one)[0] for one in letters]
            discarded += sum((await services.client.discard(ids, actor=caller.actor)).values())
    except StoplineError as error:
        raise Problem.of(error, discarded=discarded) from error
    return json_reply({"discarded": discarded, **chosen.left()})


async def _letters(request: Request) -> Letters:
    letters = await read_document(request, services_of(request).whole, Letters)
    by_filter = letters.filter is not None and not letters.filter.is_empty
    if [letters.ids is not None, by_filter, letters.all is True].count(True) != 1:
        raise Problem(
            Kind.INVALID,
            'Give "ids", or a "filter" that is not empty, or "all": true; one of them.',
        )
    return letters


class _Chosen:
    """The letters that a call means, as many as one call may touch.

    Args:
        client: knows them.
        letters: which are meant.
        passes_over: those that are left as they are.
    """

    def __init__(
        self,
        client: AsyncStopClient,
        letters: Letters,
        *,
        passes_over: Callable[[DeadLetter], bool] = lambda _letter: False,
    ) -> None:
        self._client = client
        self._letters = letters
        self._passes_over = passes_over
        self._has_more = False
        self._kept: list[str] = []
        self._unknown: list[str] = []

    def left(self) -> dict[str, Any]:
        """What was not touched, and why."""
        return {"kept": self._kept, "unknown": self._unknown, "more": self._has_more}

    async def chunks(self) -> AsyncIterator[list[DeadLetter]]:
        """Some at a time; what dies from now on is not among them."""
        chunk: list[DeadLetter] = []
        touched = 0
        async for letter in self._found():
            if self._passes_over(letter):
                if len(self._kept) < _KEPT_SHOWN_MAX:
                    self._kept.append(_id_and_end(letter)[0])
                continue
            if touched + len(chunk) >= _A_CALL_MAX:
                self._has_more = True
                break
            chunk.append(letter)
            if len(chunk) >= _CHUNK:
                touched += len(chunk)
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    async def _found(self) -> AsyncIterator[DeadLetter]:
        if self._letters.ids is None:
            wanted = self._letters.filter or DeadFilter()
            async for letter in self._client.dead_letters(since=wanted.since):
                if wanted.matches(letter):
                    yield letter
            return
        for letter in await self._by_id(self._letters.ids):
            yield letter

    async def _by_id(self, ids: Sequence[str]) -> list[DeadLetter]:
        """All are looked up before any is touched; what is none (any more) is told."""
        letters = []
        for one in dict.fromkeys(ids):
            try:
                letters.append(await self._client.dead_letter(one))
            except UnknownRequestError:
                self._unknown.append(one)
        if not letters:
            raise UnknownRequestError("None of these is a dead letter.")
        return letters
