"""What became of requests long ago: the archive, searched by people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from stopline.contract import OutcomeKind, parse_moment
from stopline_archive.places import HistoryFilter, Place
from stopline_gateway.console.rendering import fragment
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from markupsafe import Markup
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services

_ROWS: Final = 50
_TEXTS: Final = ("task_id", "user_id", "source", "batch_id")
_FIELDS: Final = (*_TEXTS, "outcome", "since", "until")


class Past:
    """Reads the archive for its page."""

    def __init__(self, services: Services) -> None:
        self._history = services.history

    async def page(self, request: Request, _session: Session) -> Markup:
        """A page of outcomes by a filter."""
        query = request.query_params
        cursor = query.get("cursor")
        try:
            found, further = await self._history.page(
                _wanted(query), Place.parse(cursor) if cursor else None, _ROWS
            )
        except Problem as problem:
            if problem.kind is not Kind.NO_ARCHIVE:
                raise
            return fragment("history_body.html", outcomes=(), further=None, missing=problem.detail)
        kept = {name: query[name] for name in _FIELDS if query.get(name)}
        link = urlencode({**kept, "cursor": str(further)}) if further else None
        return fragment("history_body.html", outcomes=found, further=link, missing=None)


def _wanted(query: QueryParams) -> HistoryFilter:
    given = {name: query[name] for name in _FIELDS if query.get(name)}
    outcome = given.get("outcome")
    if outcome is not None and outcome not in set(OutcomeKind):
        raise Problem(Kind.INVALID, "outcome: there is no such one.", field="outcome")
    return HistoryFilter(
        **{name: given.get(name) for name in _TEXTS},
        outcome=OutcomeKind(outcome) if outcome else None,
        since=parse_moment(given["since"], "since") if "since" in given else None,
        until=parse_moment(given["until"], "until") if "until" in given else None,
    )
