"""Cancelling requests, and telling of targets that were resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stopline.client.verbs.dispatching import dispatch_promoted
from stopline.client.verbs.looking import batch
from stopline.client.verbs.reporting import batch_place, batch_places
from stopline.client.verbs.steps import Verb, run
from stopline.contract import (
    MESSAGE_IDS_MAX,
    AuditAction,
    CancelResult,
    ResumeResult,
    check_name,
)
from stopline.ledger import commands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import Actor, Target
    from stopline.ledger.limits import Limits

_CANCELLING: Final = "it is being cancelled"
"""Why a batch is paused while it is."""


def cancel(
    limits: Limits,
    request_ids: Sequence[str],
    by: str,
    *,
    only_source: str | None = None,
    actor: Actor | None = None,
) -> Verb[dict[str, CancelResult]]:
    """Cancel requests by id; `by` is a name like `source`, since every outcome repeats it."""
    check_name(by, "by")
    results: dict[str, CancelResult] = {}
    for first in range(0, len(request_ids), MESSAGE_IDS_MAX):
        chunk = request_ids[first : first + MESSAGE_IDS_MAX]
        audit = actor and commands.audit_text(AuditAction.CANCEL, actor, request_ids=chunk)
        command = commands.cancel(limits, chunk, by, only_source=only_source, audit=audit)
        words, promoted = yield from run(command)
        results.update(zip(chunk, words, strict=True))
        yield from dispatch_promoted(promoted)
    return results


def cancel_batch(
    limits: Limits, batch_id: str, by: str, actor: Actor | None = None
) -> Verb[dict[CancelResult, int]]:
    """Cancel every request of a batch; the reply counts what came of it.

    It is paused meanwhile: workers begin at its front, too, and would call for most of it first.
    Whoever dies in between leaves it paused.
    """
    check_name(by, "by")
    place = yield from batch_place(batch_id)
    if actor is not None:  # once for all of them, and before the first
        text = commands.audit_text(AuditAction.CANCEL, actor, batch_id=batch_id)
        yield from run(commands.note(limits, text))
    if (yield from batch(batch_id)).paused is None:
        yield from run(commands.pause_batch(limits, batch_id, by, _CANCELLING, None))
    counts = dict.fromkeys(CancelResult, 0)
    while place is not None:
        found, place = yield from batch_places(place)
        request_ids = list(dict.fromkeys(request_id for _, request_id in found))
        results = yield from cancel(limits, request_ids, by)
        for result in results.values():
            counts[result] += 1
    paused = (yield from batch(batch_id)).paused
    if paused is not None and paused.reason == _CANCELLING:
        steered = yield from run(commands.resume_batch(limits, batch_id, None))
        yield from dispatch_promoted(steered.told)
    return counts


def resumed(
    limits: Limits, target: Target, at: int | None, actor: Actor | None = None
) -> Verb[ResumeResult]:
    """Tell the ledger that a target was resumed (microseconds; None: now)."""
    audit = actor and commands.audit_text(AuditAction.RESUMED, actor, **target._asdict())
    result, promoted = yield from run(commands.resume(limits, target, at, audit))
    yield from dispatch_promoted(promoted)
    return result
