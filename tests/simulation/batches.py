"""Batches in the simulation: what must hold of their reports in the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from stopline.client import verbs
from stopline.contract import OutcomeKind
from stopline.ledger import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from stopline.client.batches import ReadPage
    from stopline.contract import Batch, BatchLine, Outcome

T = TypeVar("T")


def wrong_report(
    run: Callable[[Any], Any],
    batch: Batch,
    outcomes: Iterable[Outcome],
    began: Mapping[str, int],
    resumed: Mapping[str, int],
) -> str | None:
    """What is wrong with the report of a batch that has ended.

    Each line has its outcome, and `undo` names exactly what calls of the batch's own stopped.

    Args:
        run: runs a command of the ledger.
        batch: its counters.
        outcomes: all of the run.
        began: when the last call of a request began, in microseconds.
        resumed: when a target was last resumed, by its digest, in microseconds.
    """
    lines = _all(run, batch.batch_id, verbs.batch_page)
    if len({one.place for one in lines}) != len(lines) or len(lines) != batch.total:
        return f"its report has {len(lines)} lines"
    counted = Counter(one.outcome for one in lines)
    if counted != Counter({kind: count for kind, count in batch.outcomes.items() if count}):
        return f"its report counts {counted}"
    named = {str(one.stopped_target) for one in _all(run, batch.batch_id, verbs.undo_page)}
    stopped = _stopped_by(batch.batch_id, outcomes, began, resumed)
    return None if named == stopped else f"undo names {named}, and it stopped {stopped}"


def _stopped_by(
    batch_id: str,
    outcomes: Iterable[Outcome],
    began: Mapping[str, int],
    resumed: Mapping[str, int],
) -> set[str]:
    """Targets that calls of a batch's own stopped: of the calls since the last resume the first."""
    first: dict[str, Outcome] = {}
    for one in sorted(outcomes, key=lambda one: began.get(one.request_id, 0)):
        if one.outcome is not OutcomeKind.STOPPED or one.satisfied_by is not None:
            continue
        target = str(one.target)
        if began[one.request_id] > resumed.get(keys.target_digest(target), 0):
            first.setdefault(target, one)
    return {target for target, one in first.items() if one.batch_id == batch_id}


def _all(run: Callable[[Any], Any], batch_id: str, read: ReadPage) -> list[BatchLine]:
    place, found = _take(run, verbs.batch_place(batch_id)), []
    while place is not None:
        lines, place = _take(run, read(batch_id, place))
        found += lines
    return found


def _take(run: Callable[[Any], Any], verb: Generator[verbs.Step, Any, T]) -> T:
    """Take the steps of a verb that only reads."""
    reply: Any = None
    while True:
        try:
            step = verb.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # the verb's own type
        assert isinstance(step, verbs.Run)
        reply = run(step.command)
