"""What became of a batch, line by line, and what it really stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client.verbs.looking import batch
from stopline.client.verbs.steps import Verb, run
from stopline.contract import MESSAGE_IDS_MAX, BatchLine, Status
from stopline.ledger import batches, overviews
from stopline.ledger.queries import Alias

if TYPE_CHECKING:
    from collections.abc import Sequence


def batch_chunks(batch_id: str) -> Verb[tuple[str, ...]]:
    """What a batch is read by, in its order; raises `UnknownRequestError`."""
    yield from batch(batch_id)
    found = yield from run(batches.chunks(batch_id))
    return found


def batch_lines(batch_id: str, chunk: str) -> Verb[tuple[BatchLine, ...]]:
    """The lines of one chunk of a batch, in their order."""
    places = yield from run(batches.places(chunk))
    lines: list[BatchLine] = []
    for first in range(0, len(places), MESSAGE_IDS_MAX):
        some = places[first : first + MESSAGE_IDS_MAX]
        found = yield from _statuses([request_id for _, request_id in some])
        lines += (
            BatchLine.of(batch_id, place, request_id, one)
            for (place, request_id), one in zip(some, found, strict=True)
        )
    return tuple(lines)


def _statuses(request_ids: Sequence[str]) -> Verb[list[Status | None]]:
    """What there is of some requests; ids that follow another request are looked for once more."""
    found = list((yield from run(batches.statuses(request_ids))))
    following = {at: one.request_id for at, one in enumerate(found) if isinstance(one, Alias)}
    if following:
        followed = yield from run(batches.statuses(list(following.values())))
        found = [
            dict(zip(following, followed, strict=True)).get(at, one) for at, one in enumerate(found)
        ]
    return [None if isinstance(one, Alias) else one for one in found]


def stopped_lines(batch_id: str, chunk: str) -> Verb[tuple[BatchLine, ...]]:
    """Those of a chunk whose target this batch stopped, and nobody has resumed since."""
    lines = yield from batch_lines(batch_id, chunk)
    own = [(line, target) for line in lines if (target := line.stopped_target)]
    stopped: list[BatchLine] = []
    for first in range(0, len(own), MESSAGE_IDS_MAX):
        some = own[first : first + MESSAGE_IDS_MAX]
        views = yield from run(overviews.targets([target for _, target in some]))
        for (line, _), view in zip(some, views, strict=True):
            resumed_at = view and view.resumed_at
            if resumed_at is None or (line.called_at and resumed_at < line.called_at):
                stopped.append(line)
    return tuple(stopped)
