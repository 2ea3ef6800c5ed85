"""What people do with a batch as a whole: say what it is, let it wait, let it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from stopline.ledger.commands.auditing import audit_options
from stopline.ledger.commands.encoding import Promotions, members, options, promotions, text
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from stopline.contract import BatchHead
    from stopline.ledger.limits import Limits


class Steered(NamedTuple):
    """What pausing or letting go on came to.

    Attributes:
        was_paused: whether the batch was paused before; None: there is no such batch.
        told: what workers are to be told: the first that waits in each lane.
    """

    was_paused: bool | None
    told: Promotions


def open_batch(limits: Limits, batch_id: str, head: BatchHead) -> Command[str | None]:
    """Write down what a batch is; what was said before stays. Whose it is, where that was said."""
    known = [word for name, value in head._asdict().items() if value for word in (name, value)]
    return Command(
        "open_batch", (options(limits), batch_id, *known), lambda reply: text(reply) or None
    )


def pause_batch(
    limits: Limits, batch_id: str, by: str, reason: str, audit: str | None
) -> Command[Steered]:
    """Let the requests of a batch wait."""
    return _steer(limits, batch_id, members({"by": by, "reason": reason}), audit)


def resume_batch(limits: Limits, batch_id: str, audit: str | None) -> Command[Steered]:
    """Let a paused batch go on."""
    return _steer(limits, batch_id, "", audit)


def _steer(limits: Limits, batch_id: str, known: str, audit: str | None) -> Command[Steered]:
    given = options(limits, **audit_options(limits, [audit]))
    return Command("pause_batch", (given, batch_id, known), _parse_steered, durable=limits.durable)


def _parse_steered(reply: Any) -> Steered:
    _now, was_paused, told = reply
    return Steered(was_paused == b"1" if was_paused else None, promotions(told))
