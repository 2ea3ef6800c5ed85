"""What comes one after the other: outcomes, and the audit trail; and who may do how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from stopline.client.verbs.steps import Verb, run
from stopline.ledger import commands, trails

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stopline.contract import Actor, AuditAction, AuditEntry, KeptOutcome, Rate, Spent
    from stopline.ledger.limits import Limits

_PAGE = 250


class OutcomePage(NamedTuple):
    """Outcomes in the order in which they came.

    Attributes:
        outcomes: with their places.
        has_gap: between the place that was asked for and the first of these, some are no longer
            kept.
    """

    outcomes: tuple[KeptOutcome, ...]
    has_gap: bool


def outcomes(after: str, count: int, block_s: float | None) -> Verb[OutcomePage]:
    """Outcomes that came after a place in their stream."""
    found = yield from run(trails.outcomes_after(after, count, block_s))
    if not found or after == trails.FIRST:
        return OutcomePage(found, has_gap=False)
    kept = yield from run(trails.is_kept(after))
    return OutcomePage(found, has_gap=not kept)


def last_outcome() -> Verb[str]:
    """The place of the outcome that came last."""
    place = yield from run(trails.last_outcome())
    return place


class AuditPlace(NamedTuple):
    """How far somebody has looked through the audit trail; ids of entries or milliseconds."""

    since: str = "-"
    until: str = "+"
    newest_first: bool = True
    is_end: bool = False


def audit_page(place: AuditPlace) -> Verb[tuple[AuditPlace, tuple[AuditEntry, ...]]]:
    """Some entries of the audit trail, and where to go on; that `is_end` after the last."""
    command = trails.audit_entries(place.since, place.until, _PAGE, newest_first=place.newest_first)
    found = yield from run(command)
    if len(found) < _PAGE:
        return place._replace(is_end=True), found
    behind = f"({found[-1].entry_id}"
    if place.newest_first:
        return place._replace(until=behind), found
    return place._replace(since=behind), found


def keep_events(limits: Limits, documents: Sequence[str], most: int) -> Verb[None]:
    """Keep events as they came in, so many of the last ones."""
    yield from run(trails.keep_events(limits, documents, most))


def events_since(moment: datetime) -> str:
    """The place of the first event that came since a moment."""
    return str(int(moment.timestamp() * 1000))


def kept_events(place: str) -> Verb[tuple[str | None, tuple[str, ...]]]:
    """Some kept events from a place on, and where to go on; None after the last."""
    found = yield from run(trails.events_after(place, _PAGE))
    further = f"({found[-1][0]}" if len(found) == _PAGE else None
    return further, tuple(document for _, document in found)


def note(limits: Limits, action: AuditAction, actor: Actor, about: dict[str, Any]) -> Verb[None]:
    """Put into the audit trail what no other verb says there."""
    yield from run(commands.note(limits, commands.audit_text(action, actor, **about)))


def count(name: str, times: int) -> Verb[None]:
    """Count something that leaves no record of its own."""
    yield from run(commands.count(name, times))


def counts() -> Verb[dict[str, int]]:
    """What was counted."""
    found = yield from run(trails.counts())
    return found


def spend(limits: Limits, name: str, rate: Rate, wanted: int) -> Verb[Spent]:
    """Take some of what a name may do."""
    spent = yield from run(commands.spend(limits, name, rate, wanted))
    return spent
