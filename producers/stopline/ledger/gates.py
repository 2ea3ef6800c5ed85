"""The gate that all calls go through: read, and lanes paused by people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from stopline.contract import Gate, GateCause, Lane, LanePause, from_microseconds
from stopline.ledger import layouts
from stopline.ledger.commands.auditing import audit_options
from stopline.ledger.commands.encoding import members, options, pairs
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from datetime import datetime

    from stopline.ledger.limits import Limits

_THOUSANDTHS: Final = 1000


def gate(limits: Limits) -> Command[Gate]:
    """The gate as it is now."""
    return Command("gate", (options(limits),), _parse)


def pause_lane(
    limits: Limits, lane: Lane, lasts_us: int, reason: str, by: str, audit: str | None
) -> Command[bool]:
    """Pause a lane for so many microseconds, or let it go on (0); whether it was paused before."""
    given = options(limits, **audit_options(limits, [audit]))
    known = members({"reason": reason, "by": by})
    return Command("pause_lane", (given, lane, lasts_us, known), lambda reply: bool(reply[1]))


def _parse(reply: Any) -> Gate:
    now, raw, pauses = reply
    at = from_microseconds(int(now))
    known = layouts.GATE.parse(raw) if raw else {}

    def moment(name: str) -> datetime | None:
        value = known.get(name)
        return from_microseconds(int(value)) if value else None

    hold_until, calls, cause = moment("hold_until"), known.get("calls", ""), known.get("cause")
    return Gate(
        at=at,
        cause=GateCause(cause) if cause else None,
        since=moment("since"),
        said=_text(known.get("said")),
        probe_at=moment("probe_at"),
        hold_until=hold_until if hold_until and hold_until > at else None,
        refused=int(known.get("refused") or 0),
        failed=calls.count("f"),
        looked_at=len(calls),
        room=int(known["room"]) / _THOUSANDTHS if known.get("room") else None,
        pauses=_pauses(pairs(pauses), at),
    )


def _text(said: str | None) -> str | None:
    return str(orjson.loads(said)) if said else None


def _pauses(found: dict[str, str], at: datetime) -> tuple[LanePause, ...]:
    known = (LanePause.model_validate_json(one) for one in found.values())
    lasting = (one for one in known if one.until > at)
    return tuple(sorted(lasting, key=lambda one: one.lane.urgency))
