"""Batches as a whole: saying what one is, letting it wait and go on, sending its failures again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client.verbs.dead_letters import redrive
from stopline.client.verbs.dispatching import dispatch_promoted
from stopline.client.verbs.looking import batch
from stopline.client.verbs.reporting import batch_place, batch_places, outcomes_of
from stopline.client.verbs.steps import Verb, run
from stopline.contract import (
    DEAD_OUTCOMES,
    AuditAction,
    Batch,
    BatchHead,
    Outcome,
    OutcomeKind,
    Receipt,
    check_name,
    check_reason,
    new_request_id,
)
from stopline.errors import InvalidRequestError, UnknownRequestError
from stopline.ledger import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from stopline.contract import Actor
    from stopline.ledger.commands.batches import Steered
    from stopline.ledger.limits import Limits


def open_batch(limits: Limits, batch_id: str, head: BatchHead) -> Verb[str | None]:
    """Write down what a batch is; what was said before stays. Whose it is, where that was said."""
    for field in ("name", "source"):
        if (value := getattr(head, field)) is not None:
            check_name(value, field)
    if head.reason is not None:
        check_reason(head.reason)
    return (yield from run(commands.open_batch(limits, batch_id, head))) if any(head) else None


def pause_batch(
    limits: Limits, batch_id: str, reason: str, by: str, actor: Actor | None
) -> Verb[Batch]:
    """Let the requests of a batch wait, those that are still to come too."""
    check_name(by, "by")
    check_reason(reason)
    about = {"batch_id": batch_id, "reason": reason}
    audit = actor and commands.audit_text(AuditAction.BATCH_PAUSE, actor, **about)
    steered = yield from run(commands.pause_batch(limits, batch_id, by, reason, audit))
    return (yield from _steered(batch_id, steered))


def resume_batch(limits: Limits, batch_id: str, actor: Actor | None) -> Verb[Batch]:
    """Let a paused batch go on; one that is not paused does so anyway."""
    audit = actor and commands.audit_text(AuditAction.BATCH_RESUME, actor, batch_id=batch_id)
    steered = yield from run(commands.resume_batch(limits, batch_id, audit))
    return (yield from _steered(batch_id, steered))


def _steered(batch_id: str, steered: Steered) -> Verb[Batch]:
    if steered.was_paused is None:
        raise UnknownRequestError(
            f"The ledger knows no batch {batch_id}: the id is wrong, or the batch is older than "
            "STOPLINE_RESULT_TTL_S."
        )
    yield from dispatch_promoted(steered.told)
    return (yield from batch(batch_id))


def redrive_batch(
    limits: Limits,
    batch_id: str,
    by: str,
    *,
    outcomes: Collection[OutcomeKind] = (),
    reason: str | None = None,
    actor: Actor | None = None,
    new_id: Callable[[], str] = new_request_id,
) -> Verb[dict[str, Receipt]]:
    """Send again what of a batch ended as a dead letter.

    Args:
        limits: the limits.
        batch_id: which.
        by: who does it: the new requests' source.
        outcomes: only what ended so; empty: all kinds of dead letters.
        reason: only where the outcome's detail has this text, in any case of letters.
        actor: for the audit trail.
        new_id: makes ids.
    """
    wanted = set(outcomes or DEAD_OUTCOMES)
    if wrong := wanted - set(DEAD_OUTCOMES):
        kinds = ", ".join(DEAD_OUTCOMES)
        raise InvalidRequestError(
            f"outcome: {min(wrong)} is no dead letter; these are: {kinds}", field="outcome"
        )
    receipts: dict[str, Receipt] = {}
    place = yield from batch_place(batch_id)
    while place is not None:
        found, place = yield from batch_places(place)
        ended = yield from outcomes_of([request_id for _, request_id in found])
        letters = {one.request_id: one for one in ended if _is_wanted(one, wanted, reason)}
        again = yield from redrive(limits, list(letters.values()), by, actor=actor, new_id=new_id)
        receipts |= again
    return receipts


def _is_wanted(one: Outcome, wanted: Collection[OutcomeKind], reason: str | None) -> bool:
    return one.outcome in wanted and (reason or "").casefold() in (one.detail or "").casefold()
