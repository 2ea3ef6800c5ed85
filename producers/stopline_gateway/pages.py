"""Pages of requests: which are meant, and where one page ends and the next begins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from stopline.contract import (
    Lane,
    OpenPlace,
    RequestFilter,
    describe,
    from_microseconds,
    is_identifier,
    to_microseconds,
)
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from datetime import datetime

    from stopline import AsyncStopClient
    from stopline.contract import OpenRequest, Outcome

_OPEN, _ENDED = "o", "e"
_OPEN_FORM: Final = re.compile(
    rf"o!(?P<lane>{'|'.join(Lane)})!(?P<score>[0-9]{{1,17}}(\.[0-9]{{1,6}})?(e\+[0-9]{{1,2}})?)?!(?P<id>.*)",
    re.ASCII,
)
"""Scores as Redis writes them."""


class Cursor(NamedTuple):
    """Where a page goes on: among open requests, or among the last that ended."""

    open: OpenPlace | None = None
    ended: str | None = None

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """A cursor from a query; raises `Problem` where it is none."""
        found = _OPEN_FORM.fullmatch(text)
        if found is not None:
            lane, score, request_id = found["lane"], found["score"], found["id"]
            if is_identifier(request_id) if score else not request_id:
                return cls(open=OpenPlace(Lane(lane), score or "", request_id))
        kind, _, request_id = text.partition("!")
        if kind == _ENDED and is_identifier(request_id):
            return cls(ended=request_id)
        raise Problem(Kind.INVALID, "cursor: this is none.", field="cursor")

    def __str__(self) -> str:
        if self.open is not None:
            return "!".join((_OPEN, *self.open))
        return f"{_ENDED}!{self.ended}"


class Page(NamedTuple):
    """Some requests.

    Attributes:
        stops: those found.
        next: the cursor of what follows; None: there is no more.
        looked_at: how many were looked at for it.
    """

    stops: tuple[OpenRequest | Outcome, ...]
    next: Cursor | None
    looked_at: int


BATCH_CURSOR: Final = "[0-9]{1,16}"
"""Where a page of batches goes on: before a moment, in microseconds."""


def read_batch_cursor(text: str | None) -> datetime | None:
    """The moment before which a page's batches began; raises `Problem` where it is none."""
    if not text:
        return None
    if re.fullmatch(BATCH_CURSOR, text, re.ASCII) is None:
        raise Problem(Kind.INVALID, "cursor: this is none.", field="cursor")
    return from_microseconds(int(text))


def batch_cursor(further: datetime | None) -> str | None:
    """The cursor of the batches that began before a moment."""
    return None if further is None else str(to_microseconds(further))


def request_filter(**fields: str | None) -> RequestFilter:
    """Which requests are meant; raises `Problem` where a field can be none."""
    try:
        wanted = RequestFilter.model_validate({k: v for k, v in fields.items() if v is not None})
    except ValidationError as error:
        field, reason = describe(error)
        raise Problem(Kind.INVALID, f"{field}: {reason}", field=field) from None
    if wanted.state is not None and wanted.outcome is not None:
        raise Problem(
            Kind.INVALID, "state: of open requests; outcome: of those that ended.", field="state"
        )
    return wanted


async def page_of(
    client: AsyncStopClient,
    wanted: RequestFilter,
    cursor: Cursor | None,
    limit: int,
    *,
    ended: bool,
) -> Page:
    """A page of the last that ended, or of open requests; it may have fewer than asked for."""
    at = cursor and cursor.open
    if at is not None and wanted.lane not in {None, at.lane}:
        raise Problem(Kind.INVALID, "cursor: it is of another lane.", field="cursor")
    if ended:
        recent = await client.view.recent_page(wanted, place=cursor and cursor.ended, limit=limit)
        further = None if recent.place is None else Cursor(ended=recent.place)
        return Page(recent.outcomes, further, len(recent.outcomes))
    found = await client.view.open_page(wanted, place=at, limit=limit)
    further = None if found.place is None else Cursor(open=found.place)
    return Page(found.requests, further, found.looked_at)
