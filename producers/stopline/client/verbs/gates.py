"""The gate that all calls go through: looking at it, and pausing lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stopline.client.verbs.steps import Verb, run
from stopline.contract import AuditAction, Gate, Lane, check_name, check_reason
from stopline.errors import InvalidRequestError
from stopline.ledger import commands, gates

if TYPE_CHECKING:
    from stopline.contract import Actor
    from stopline.ledger.limits import Limits

PAUSE_MAX_S: Final = 86_400.0
"""The longest pause of a lane: who forgets it loses a day and no more."""


def gate(limits: Limits) -> Verb[Gate]:
    """The gate as it is now."""
    found = yield from run(gates.gate(limits))
    return found


def pause_lane(
    limits: Limits, lane: Lane, lasts_s: float, reason: str, by: str, actor: Actor | None
) -> Verb[bool]:
    """Let the requests of a lane wait for a while; whether it was paused before."""
    check_name(by, "by")
    check_reason(reason)
    if not 1 <= lasts_s <= PAUSE_MAX_S:
        raise InvalidRequestError(
            f"lasts_s: a second to a day is needed (1 to {PAUSE_MAX_S:g})", field="lasts_s"
        )
    about = {"lane": lane, "reason": reason, "lasts_s": lasts_s}
    audit = actor and commands.audit_text(AuditAction.LANE_PAUSE, actor, **about)
    lasts_us = round(lasts_s * 1_000_000)
    found = yield from run(gates.pause_lane(limits, lane, lasts_us, reason, by, audit))
    return found


def resume_lane(limits: Limits, lane: Lane, actor: Actor | None) -> Verb[bool]:
    """Let a paused lane go on; whether it was paused."""
    audit = actor and commands.audit_text(AuditAction.LANE_RESUME, actor, lane=lane)
    found = yield from run(gates.pause_lane(limits, lane, 0, "", "", audit))
    return found
