"""Batches in the simulation: what must hold of their reports in the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from stopline.client import verbs
from stopline.contract import OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from stopline.client.batches import ReadPage
    from stopline.contract import Batch, BatchLine

T = TypeVar("T")


def wrong_report(run: Callable[[Any], Any], batch: Batch) -> str | None:
    """What is wrong with the report of a batch that has ended.

    Each line has its outcome, and `undo` names only what the batch stopped by calls of its own.

    Args:
        run: runs a command of the ledger.
        batch: its counters.
    """
    lines = _all(run, batch.batch_id, verbs.batch_page)
    if len({one.place for one in lines}) != len(lines) or len(lines) != batch.total:
        return f"its report has {len(lines)} lines"
    counted = Counter(one.outcome for one in lines)
    if counted != Counter({kind: count for kind, count in batch.outcomes.items() if count}):
        return f"its report counts {counted}"
    for one in _all(run, batch.batch_id, verbs.undo_page):
        if one.outcome is not OutcomeKind.STOPPED or one.joined or one.satisfied_by:
            return f"undo names {one}"
    return None


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
