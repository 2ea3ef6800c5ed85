"""Who changes what: texts for the audit trail, and how often somebody may."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from stopline.contract import Spent
from stopline.ledger import keys
from stopline.ledger.commands.encoding import members, options
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import Actor, AuditAction, Rate
    from stopline.ledger.limits import Limits

IDS_MAX: Final = 100
"""Ids that one entry names."""


def audit_text(action: AuditAction, actor: Actor, **about: Any) -> str:
    """What the trail is to say of a change: see `contract.AuditEntry` for what may be said."""
    ids = about.get("request_ids")
    if ids is not None:
        about |= {"request_ids": ids[:IDS_MAX], "count": len(ids) if len(ids) > 1 else None}
    known = {"action": action, "actor": actor.name, "key": actor.key, "address": actor.address}
    return "{" + members({**known, **about}) + "}"


def audit_options(limits: Limits, texts: Sequence[str | None]) -> dict[str, object]:
    """Options for a script that changes something, in the order of its changes."""
    if not any(texts):
        return {}
    return {"audit": [text or "" for text in texts], "audit_max": limits.audit_max}


def note(limits: Limits, text: str) -> Command[None]:
    """Put something into the audit trail that no script changes."""
    given = options(None, **audit_options(limits, [text]))
    return Command("note", (given,), lambda _reply: None)


def count(name: str, times: int) -> Command[None]:
    """Count something that leaves no record of its own."""
    return Command("HINCRBY", (keys.COUNTS, name, times), lambda _reply: None, is_script=False)


def spend(limits: Limits, name: str, rate: Rate, wanted: int) -> Command[Spent]:
    """Take some of what a name may do; grants as many as there are, and none is given back."""
    interval_us = max(1, round(1_000_000 / rate.per_s))
    return Command(
        "spend",
        (options(limits), name, interval_us, rate.burst, wanted),
        lambda reply: Spent(int(reply[0]), math.ceil(int(reply[1]) / 1000) / 1000),
    )
