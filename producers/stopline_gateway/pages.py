"""Pages of requests: which are meant, and where one page ends and the next begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from stopline.contract import Lane, OpenPlace, RequestFilter, describe, is_identifier
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from stopline import AsyncStopClient
    from stopline.contract import OpenRequest, Outcome

_OPEN, _ENDED = "o", "e"


class Cursor(NamedTuple):
    """Where a page goes on: among open requests, or among the last that ended."""

    open: OpenPlace | None = None
    ended: str | None = None

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """A cursor from a query; raises `Problem` where it is none."""
        kind, *rest = text.split("!")
        match kind, rest:
            case "o", [lane, score, request_id] if lane in set(Lane) and _is_score(score):
                if request_id == "" or is_identifier(request_id):
                    return cls(open=OpenPlace(Lane(lane), score, request_id))
            case "e", [request_id] if is_identifier(request_id):
                return cls(ended=request_id)
        raise Problem(Kind.INVALID, "cursor: this is none.", field="cursor")

    def __str__(self) -> str:
        if self.open is not None:
            return "!".join((_OPEN, *self.open))
        return f"{_ENDED}!{self.ended}"


def _is_score(text: str) -> bool:
    return text == "" or (len(text) < 30 and text.replace(".", "", 1).replace("e+", "").isdigit())  # noqa: PLR2004  # as Redis writes floats


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
    if ended:
        recent = await client.view.recent_page(wanted, place=cursor and cursor.ended, limit=limit)
        further = None if recent.place is None else Cursor(ended=recent.place)
        return Page(recent.outcomes, further, len(recent.outcomes))
    found = await client.view.open_page(wanted, place=cursor and cursor.open, limit=limit)
    further = None if found.place is None else Cursor(open=found.place)
    return Page(found.requests, further, found.looked_at)
