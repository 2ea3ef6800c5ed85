"""What became of a batch, line by line, and what it really stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stopline.client.verbs.looking import batch
from stopline.client.verbs.steps import Verb, run
from stopline.contract import MESSAGE_IDS_MAX, BatchLine, Outcome, Status, TargetView
from stopline.ledger import batches, overviews
from stopline.ledger.queries import Alias

if TYPE_CHECKING:
    from collections.abc import Sequence


class BatchPlace(NamedTuple):
    """Where a reader of a batch is: the chunks that are left, and the place in the first."""

    chunks: tuple[str, ...]
    cursor: int = 0

    def after(self, cursor: int) -> BatchPlace | None:
        """The place behind a step that led to this cursor; None: that was all."""
        if cursor:
            return BatchPlace(self.chunks, cursor)
        return BatchPlace(self.chunks[1:]) if self.chunks[1:] else None


class BatchPage(NamedTuple):
    """Some lines of a batch, and where the next ones are."""

    lines: tuple[BatchLine, ...]
    place: BatchPlace | None


def batch_place(batch_id: str) -> Verb[BatchPlace | None]:
    """Where a batch begins; raises `UnknownRequestError`."""
    yield from batch(batch_id)
    chunks = yield from run(batches.chunks(batch_id))
    return BatchPlace(chunks) if chunks else None


def batch_places(
    place: BatchPlace,
) -> Verb[tuple[tuple[tuple[int | None, str], ...], BatchPlace | None]]:
    """Places with their request ids from a place on, and where the next ones are."""
    found, cursor = yield from run(batches.places(place.chunks[0], place.cursor))
    return found, place.after(cursor)


def batch_page(batch_id: str, place: BatchPlace) -> Verb[BatchPage]:
    """The lines from a place on, in their order: a hundred or some more."""
    places, following = yield from batch_places(place)
    lines: list[BatchLine] = []
    for first in range(0, len(places), MESSAGE_IDS_MAX):
        some = places[first : first + MESSAGE_IDS_MAX]
        found = yield from _statuses([request_id for _, request_id in some])
        lines += (
            BatchLine.of(batch_id, at, request_id, one)
            for (at, request_id), one in zip(some, found, strict=True)
        )
    return BatchPage(tuple(lines), following)


def _statuses(request_ids: Sequence[str]) -> Verb[list[Status | None]]:
    """What there is of some requests; ids that follow another request are looked for once more."""
    found = yield from run(batches.statuses(request_ids))
    following = {at: one.request_id for at, one in enumerate(found) if isinstance(one, Alias)}
    followed: dict[int, Status | Alias | None] = {}
    if following:
        hosts = yield from run(batches.statuses(list(following.values())))
        followed = dict(zip(following, hosts, strict=True))
    all_ = [followed.get(at, one) for at, one in enumerate(found)]
    return [None if isinstance(one, Alias) else one for one in all_]


def outcomes_of(request_ids: Sequence[str]) -> Verb[list[Outcome]]:
    """The outcomes that there are of some requests."""
    ended: list[Outcome] = []
    for first in range(0, len(request_ids), MESSAGE_IDS_MAX):
        found = yield from _statuses(request_ids[first : first + MESSAGE_IDS_MAX])
        ended += (one for one in found if isinstance(one, Outcome))
    return ended


def undo_page(batch_id: str, place: BatchPlace) -> Verb[BatchPage]:
    """Of the lines from a place on, those whose target this batch stopped, and it stayed so."""
    lines, following = yield from batch_page(batch_id, place)
    own = [(line, target) for line in lines if (target := line.stopped_target)]
    stopped: list[BatchLine] = []
    for first in range(0, len(own), MESSAGE_IDS_MAX):
        some = own[first : first + MESSAGE_IDS_MAX]
        views = yield from run(overviews.targets([target for _, target in some]))
        stopped += (
            line
            for (line, _), view in zip(some, views, strict=True)
            if not _resumed_since(line, view)
        )
    return BatchPage(tuple(stopped), following)


def _resumed_since(line: BatchLine, view: TargetView | None) -> bool:
    if view is None or view.resumed_at is None:
        return False
    # The ledger's own moment is exact; that of an attempt is cut to milliseconds.
    is_last = view.succeeded_by == line.request_id
    called_at = view.succeeded_at if is_last else line.called_at
    return called_at is None or view.resumed_at >= called_at
