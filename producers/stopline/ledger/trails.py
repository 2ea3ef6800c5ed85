"""What is kept as it comes, in streams with a cap: outcomes, and the audit trail. Pure.

An entry's id is the server's time in milliseconds, a dash, and a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from stopline.contract import AuditEntry, KeptOutcome, Outcome, from_microseconds, is_event
from stopline.ledger import keys
from stopline.ledger.commands.encoding import numbers, options
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits

FIRST: Final = "0-0"
"""Before all entries."""


Outcomes = tuple[KeptOutcome, ...]


def outcomes_after(place: str, count: int, block_s: float | None = None) -> Command[Outcomes]:
    """Outcomes that came after a place, the oldest first.

    Args:
        place: the id of an entry.
        count: at most so many.
        block_s: where there are none, wait so long for the first; None: do not.
    """
    waits = () if block_s is None else ("BLOCK", max(1, round(block_s * 1000)))
    given = ("COUNT", count, *waits, "STREAMS", keys.OUTCOMES, place)
    return Command("XREAD", given, _parse_read, is_script=False)


def last_outcome() -> Command[str]:
    """The id of the outcome that came last; `FIRST` where there is none."""

    def parse(reply: Any) -> str:
        entries = _entries(reply)
        return entries[0][0] if entries else FIRST

    given = (keys.OUTCOMES, "+", "-", "COUNT", 1)
    return Command("XREVRANGE", given, parse, is_script=False)


def is_kept(place: str) -> Command[bool]:
    """Whether the outcome of an id is still kept: if not, others after it may be gone as well."""
    return Command("XRANGE", (keys.OUTCOMES, place, place), bool, is_script=False)


def counts() -> Command[dict[str, int]]:
    """How often something happened that leaves no record of its own."""

    def parse(reply: Any) -> dict[str, int]:
        return {name: times for name, times in numbers(reply).items() if is_event(name)}

    return Command("HGETALL", (keys.COUNTS,), parse, is_script=False)


def audit_entries(
    since: str, until: str, count: int, *, newest_first: bool
) -> Command[tuple[AuditEntry, ...]]:
    """Entries of the audit trail between two ids (or milliseconds; `(` before one excludes it)."""
    name, ends = "XRANGE", (since, until)
    if newest_first:
        name, ends = "XREVRANGE", (until, since)
    given = (keys.AUDIT, *ends, "COUNT", count)
    return Command(name, given, _parse_audit, is_script=False)


def keep_events(limits: Limits, documents: Sequence[str], most: int) -> Command[None]:
    """Keep events as they came in, so many of the last ones."""
    given = options(limits, events_max=most)
    return Command("record", (given, *documents), lambda _reply: None)


def events_after(place: str, count: int) -> Command[tuple[tuple[str, str], ...]]:
    """Kept events from a place on (`(` before an id excludes it): their ids, and documents."""

    def parse(reply: Any) -> tuple[tuple[str, str], ...]:
        return tuple((at, fields["event"].decode()) for at, fields in _entries(reply))

    given = (keys.EVENTS, place, "+", "COUNT", count)
    return Command("XRANGE", given, parse, is_script=False)


def _parse_audit(reply: Any) -> tuple[AuditEntry, ...]:
    return tuple(_audit_entry(place, fields) for place, fields in _entries(reply))


def _audit_entry(place: str, fields: dict[str, bytes]) -> AuditEntry:
    milliseconds = int(place.partition("-")[0])
    said = orjson.loads(fields["entry"])
    came_of_it = {name: fields[name].decode() for name in ("receipt", "follow") if name in fields}
    targets = tuple(fields.get("targets", b"").decode().split())
    at = from_microseconds(milliseconds * 1000)
    return AuditEntry.model_validate(
        {**said, **came_of_it, "targets": targets, "entry_id": place, "at": at}
    )


def _parse_read(reply: Any) -> Outcomes:
    streams = reply.items() if isinstance(reply, dict) else reply or ()
    return tuple(
        KeptOutcome(place, Outcome.model_validate(orjson.loads(fields["outcome"])))
        for _, entries in streams
        for place, fields in _entries(entries)
    )


def _entries(reply: Any) -> list[tuple[str, dict[str, bytes]]]:
    """Ids and fields; redis-py gives None for an entry that was trimmed meanwhile."""
    return [
        (place.decode(), {name.decode(): value for name, value in fields.items()})
        for place, fields in reply or ()
        if fields is not None
    ]
