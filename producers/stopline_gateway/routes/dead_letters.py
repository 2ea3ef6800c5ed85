"""`/v1/dead-letters`: what was not stopped, and messages that nobody could handle."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import ValidationError

from stopline.contract import (
    DeadFilter,
    DeadMessage,
    Moment,
    OutcomeKind,
    describe,
    from_microseconds,
    to_microseconds,
)
from stopline_gateway.bodies import read_object
from stopline_gateway.documents import DeadPage, Discarded, Letters, Redriven
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from stopline import AsyncStopClient
    from stopline.contract import DeadLetter

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
_A_CALL_MAX: Final = 1_000
"""Letters that one call sends again or drops."""
_LOOKED_AT_MAX: Final = 10_000
"""Letters that one call looks at: what a filter leaves out costs as much."""
_CHUNK: Final = 250
_BODY: Final = body_of(
    {"application/json": {"schema": {"$ref": f"#/components/schemas/{Letters.__name__}"}}}
)
Only = Annotated[str | None, Query(max_length=200, description="Only these.")]


@router.get(
    "",
    operation_id="listDeadLetters",
    summary="What was not stopped, the newest first",
    response_model=None,
    responses={
        200: {"description": "A page.", "model": DeadPage},
        **problems(Kind.INVALID),
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
        str | None, Query(max_length=400, description="`next` of the page before.")
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
    """Where a page ended: when the last letter died, and the ids of those that died with it."""

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
            return cls(from_microseconds(int(at)), frozenset(map(str, seen)))
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
        if self.cursor is not None and letter_id in self.cursor.seen:
            return False
        seen = {letter_id}
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
    chosen = _Chosen(services.client, await _letters(request))
    receipts: dict[str, Any] = {}
    messages, kept = 0, []
    async for letters in chosen.chunks():
        whole = [one for one in letters if not _must_stay(one)]
        again = await services.client.redrive(whole, by=caller.name, actor=caller.actor)
        receipts |= {old: receipt.to_json() for old, receipt in again.items()}
        messages += sum(isinstance(one, DeadMessage) for one in whole)
        kept += [_id_and_end(one)[0] for one in letters if _must_stay(one)]
    document = {"receipts": receipts, "messages": messages, "kept": kept, "more": chosen.has_more}
    return json_reply(document)


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
    async for letters in chosen.chunks():
        ids = [_id_and_end(one)[0] for one in letters]
        discarded += sum((await services.client.discard(ids, actor=caller.actor)).values())
    return json_reply({"discarded": discarded, "more": chosen.has_more})


async def _letters(request: Request) -> Letters:
    fields = await read_object(request, services_of(request).whole)
    try:
        letters = Letters.model_validate(fields)
    except ValidationError as error:
        field, reason = describe(error)
        raise Problem(Kind.INVALID, f"{field}: {reason}", field=field) from None
    by_filter = letters.filter is not None and not letters.filter.is_empty
    if [letters.ids is not None, by_filter, letters.all is True].count(True) != 1:
        raise Problem(
            Kind.INVALID,
            'Give "ids", or a "filter" that is not empty, or "all": true; one of them.',
        )
    return letters


class _Chosen:
    """The letters that a call means, as many as one call may touch."""

    def __init__(self, client: AsyncStopClient, letters: Letters) -> None:
        self._client = client
        self._letters = letters
        self.has_more = False

    async def chunks(self) -> AsyncIterator[list[DeadLetter]]:
        """Some at a time; what dies from now on is not among them."""
        if self._letters.ids is not None:
            # All are looked up before any is touched.
            ids = iter([await self._client.dead_letter(one) for one in self._letters.ids])
            while some := list(islice(ids, _CHUNK)):
                yield some
            return
        wanted = self._letters.filter or DeadFilter()
        chunk: list[DeadLetter] = []
        touched = 0
        async for letter in self._client.dead_letters(since=wanted.since):
            if not wanted.matches(letter):
                continue
            if touched + len(chunk) >= _A_CALL_MAX:
                self.has_more = True
                break
            chunk.append(letter)
            if len(chunk) >= _CHUNK:
                touched += len(chunk)
                yield chunk
                chunk = []
        if chunk:
            yield chunk
