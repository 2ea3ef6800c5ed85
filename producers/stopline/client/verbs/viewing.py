"""Looking at all requests: what is open, what ended, what is known of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.client.verbs.steps import Verb, run
from stopline.contract import (
    Batch,
    Lane,
    OpenPage,
    OpenPlace,
    OpenRequest,
    Outcome,
    Overview,
    Recount,
    RequestFilter,
    Snapshot,
    Target,
    TargetView,
    from_microseconds,
    to_microseconds,
)
from stopline.ledger import batches, overviews

if TYPE_CHECKING:
    from datetime import datetime

    from stopline.ledger.limits import Limits

LOOKS_MAX: Final = 8
"""Calls that one page may cost: what a filter leaves out costs as much as what it means."""
_RECENT_AT_ONCE: Final = 250


class RecentPage(NamedTuple):
    """Some of the last outcomes, the newest first.

    Attributes:
        outcomes: those found.
        place: where to go on: the id of the last one that was looked at; None: there are no more.
    """

    outcomes: tuple[Outcome, ...]
    place: str | None


def overview(limits: Limits) -> Verb[Overview]:
    """Everything that one look at all requests shows."""
    found = yield from run(overviews.overview(limits))
    return found


def history(since: datetime, count: int) -> Verb[tuple[Snapshot, ...]]:
    """The counters as they were each minute."""
    found = yield from run(overviews.history(since, count))
    return found


def open_page(wanted: RequestFilter, place: OpenPlace | None, limit: int) -> Verb[OpenPage]:
    """Open requests of one lane after the other; a page may end before it is full."""
    lanes = [wanted.lane] if wanted.lane else list(Lane)
    at: OpenPlace | None = place or OpenPlace(lanes[0])
    found: list[OpenRequest] = []
    looked_at = 0
    for _ in range(LOOKS_MAX):
        if at is None or len(found) >= limit:
            break
        command = overviews.open_page(wanted, at, limit - len(found))
        page = yield from run(command)
        found += page.requests
        looked_at += page.looked_at
        at = page.place or _next_lane(lanes, at.lane)
    return OpenPage(tuple(found), looked_at, at)


def _next_lane(lanes: list[Lane], lane: Lane) -> OpenPlace | None:
    following = lanes[lanes.index(lane) + 1 :] if lane in lanes else []
    return OpenPlace(following[0]) if following else None


def recent_page(wanted: RequestFilter, place: str | None, limit: int) -> Verb[RecentPage]:
    """The last outcomes, as far as the ledger lists them."""
    first = 0
    if place is not None:
        at = yield from run(overviews.recent_place(place))
        if at is None:
            return RecentPage((), None)
        first = at + 1
    found: list[Outcome] = []
    seen: set[str] = set()
    last = place
    for _ in range(LOOKS_MAX):
        ids = yield from run(overviews.recent_ids(first, _RECENT_AT_ONCE))
        if not ids:
            return RecentPage(tuple(found), None)
        outcomes = {one.request_id: one for one in (yield from run(overviews.outcomes(ids)))}
        for request_id in ids:
            one, last = outcomes.get(request_id), request_id
            if request_id in seen:
                continue  # others ended meanwhile, and moved it
            seen.add(request_id)
            if one is not None and wanted.matches(one):
                found.append(one)
                if len(found) >= limit:
                    return RecentPage(tuple(found), last)
        first += len(ids)
    return RecentPage(tuple(found), last)


def target(wanted: Target) -> Verb[TargetView | None]:
    """What is known of a target."""
    found = yield from run(overviews.target(wanted))
    return found


def recount(*, repair: bool) -> Verb[Recount]:
    """Count what is open anew, and say where the counters say otherwise."""
    found = yield from run(overviews.recount(repair=repair))
    return found


def recent_batches(
    until: datetime | None, count: int
) -> Verb[tuple[tuple[Batch, ...], datetime | None]]:
    """The last batches, and the moment before which to go on; None: there are no more."""
    before = None if until is None else to_microseconds(until)
    listed = yield from run(overviews.recent_batches(before, count))
    found = yield from run(batches.batches([batch_id for batch_id, _ in listed]))
    further = from_microseconds(listed[-1][1]) if len(listed) == count else None
    return found, further
