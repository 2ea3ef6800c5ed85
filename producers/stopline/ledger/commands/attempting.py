"""What an engine asks: claim, renew, settle."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from stopline.contract import CALL_BUCKETS_S, Lane, Target, bucket_name, status_class
from stopline.ledger.commands.encoding import json_string, members, options, promotions, text
from stopline.ledger.values import (
    Answer,
    Claimed,
    Command,
    Ended,
    Grant,
    Record,
    Released,
    Renewed,
    Retry,
    Settled,
    Settlement,
    SuspectRoom,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stopline.ledger.limits import Limits


def _grants(flat: Sequence[bytes]) -> tuple[Grant, ...]:
    words = [text(word) for word in flat]
    return tuple(
        Grant(
            request_id,
            Target.parse(target),
            int(attempt),
            int(not_after),
            int(lease_end),
            int(lost),
            token,
        )
        for request_id, target, attempt, not_after, lease_end, lost, token in zip(
            *(words[field::7] for field in range(7)), strict=True
        )
    )


def _parse_claimed(reply: Any) -> Claimed:
    now, grants, promoted, *rest = reply
    next_due = int(rest[0]) if rest and rest[0] else None
    return Claimed(int(now), _grants(grants), promotions(promoted), next_due)


def claim(
    limits: Limits,
    request_ids: Iterable[str],
    token: str,
    *,
    suspect_room: SuspectRoom | None = None,
) -> Command[Claimed]:
    """Claim requests by id; those that cannot be called for now are left as they are."""
    given = _claim_options(limits, token, suspect_room)
    return Command("claim", (given, *request_ids), _parse_claimed)


def claim_due(
    limits: Limits,
    lanes: Sequence[Lane],
    token: str,
    *,
    limit: int,
    suspect_room: SuspectRoom | None = None,
) -> Command[Claimed]:
    """Claim up to `limit` due requests of some lanes, the most urgent first.

    The token is `engine:number`; the token of the engine's last sweep repeats that sweep.
    """
    ordered = sorted(lanes, key=lambda lane: lane.urgency)
    given = _claim_options(limits, token, suspect_room, limit=limit)
    return Command("claim_due", (given, *ordered), _parse_claimed)


def _claim_options(
    limits: Limits, token: str, suspect_room: SuspectRoom | None, **extra: int
) -> bytes:
    if suspect_room is None:
        return options(limits, token=token, **extra)
    return options(limits, token=token, suspect_room=suspect_room, **extra)


def renew(limits: Limits, leases: Iterable[tuple[str, str]]) -> Command[Renewed]:
    """Extend leases, given as request id and token."""
    fields = [field for lease in leases for field in lease]
    return Command(
        "renew",
        (options(limits), *fields),
        lambda reply: Renewed(int(reply[0]), tuple(bool(word) for word in reply[1])),
    )


_ANSWERS: Final = {answer.value.encode(): answer for answer in Answer}


def _parse_settled(reply: Any) -> Settled:
    return Settled(tuple(_ANSWERS[word] for word in reply[1]), promotions(reply[2]))


def _fields(settlement: Settlement) -> tuple[str, str, str, str, str]:
    """One settlement as `settle.lua` reads it."""
    request_id, token, *_ = settlement
    if isinstance(settlement, Ended):
        argument = f"{settlement.outcome.value}\n{json_string(settlement.detail)}"
        return request_id, token, "end", _record(settlement.record), argument
    if isinstance(settlement, Retry):
        delay = str(settlement.delay_us)
        return request_id, token, settlement.cause.value, _record(settlement.record), delay
    return request_id, token, "release", "", ""


def _record(record: Record) -> str:
    return members(record._asdict())


def settle(limits: Limits, settlements: Sequence[Settlement]) -> Command[Settled]:
    """Record finished attempts."""
    fields = chain.from_iterable(map(_fields, settlements))
    given = options(limits, calls=_calls(settlements)) if limits.counts else options(limits)
    return Command("settle", (given, *fields), _parse_settled)


def _calls(settlements: Sequence[Settlement]) -> list[str | int]:
    """What these calls are counted as, together: most come to the same."""
    records = [one.record for one in settlements if not isinstance(one, Released)]
    came_to = Counter((one.verdict, one.http_status) for one in records)
    took = Counter(bisect_left(CALL_BUCKETS_S, one.duration_ms / 1000) for one in records)
    counts: Counter[tuple[str, str, str]] = Counter()
    for (verdict, status), count in came_to.items():
        counts["attempt", verdict.value, status_class(status)] += count
    for at, count in took.items():
        counts["call", bucket_name(CALL_BUCKETS_S, at), ""] += count
    counts["call", "us", ""] = round(sum(one.duration_ms for one in records) * 1000)
    return [word for name, count in counts.items() for word in (*name, count)]
