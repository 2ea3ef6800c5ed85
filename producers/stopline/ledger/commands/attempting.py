"""What an engine asks: claim, renew, settle."""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from stopline.contract import CALL_BUCKETS_S, GateCause, Lane, Target, bucket_name, status_class
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

    from stopline.contract import Verdict
    from stopline.ledger.limits import Limits


_GRANT_FIELDS: Final = 7
"""With the contexts of traces it is one more."""


def _grants(flat: Sequence[bytes], fields: int) -> tuple[Grant, ...]:
    words = [text(word) for word in flat]
    columns = [words[field::fields] for field in range(_GRANT_FIELDS)]
    contexts = words[_GRANT_FIELDS::fields] if fields > _GRANT_FIELDS else None
    traces: Sequence[tuple[str, ...] | None] = (
        [None] * len(columns[0]) if contexts is None else [tuple(one.split()) for one in contexts]
    )
    return tuple(
        Grant(
            request_id,
            Target.parse(target),
            int(attempt),
            int(not_after),
            int(lease_end),
            int(lost),
            token,
            trace,
        )
        for request_id, target, attempt, not_after, lease_end, lost, token, trace in zip(
            *columns, traces, strict=True
        )
    )


def _parse_claimed(reply: Any, fields: int = _GRANT_FIELDS) -> Claimed:
    now, grants, promoted, shut, *rest = reply
    next_due = int(rest[0]) if rest and rest[0] else None
    cause = GateCause(text(shut)) if shut else None
    return Claimed(int(now), _grants(grants, fields), promotions(promoted), cause, next_due)


def _parse_traced(reply: Any) -> Claimed:
    return _parse_claimed(reply, _GRANT_FIELDS + 1)


def claim(
    limits: Limits,
    request_ids: Iterable[str],
    token: str,
    *,
    suspect_room: SuspectRoom | None = None,
    traces: bool = False,
) -> Command[Claimed]:
    """Claim requests by id; those that cannot be called for now are left as they are."""
    given = _claim_options(limits, token, suspect_room, traces=traces)
    return Command("claim", (given, *request_ids), _parse_traced if traces else _parse_claimed)


def claim_due(
    limits: Limits,
    lanes: Sequence[Lane],
    token: str,
    *,
    limit: int,
    suspect_room: SuspectRoom | None = None,
    traces: bool = False,
) -> Command[Claimed]:
    """Claim up to `limit` due requests of some lanes, the most urgent first.

    The token is `engine:number`; the token of the engine's last sweep repeats that sweep.
    """
    ordered = sorted(lanes, key=lambda lane: lane.urgency)
    given = _claim_options(limits, token, suspect_room, traces=traces, limit=limit)
    return Command("claim_due", (given, *ordered), _parse_traced if traces else _parse_claimed)


def _claim_options(
    limits: Limits, token: str, suspect_room: SuspectRoom | None, *, traces: bool, **extra: object
) -> bytes:
    if traces:
        extra["traces"] = True
    if suspect_room is not None:
        extra["suspect_room"] = suspect_room
    return options(limits, token=token, **extra)


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
        times = f"{settlement.delay_us} {settlement.least_us} {settlement.hold_us}"
        argument = f"{times} {json_string(settlement.said)}"
        return request_id, token, settlement.cause.value, _record(settlement.record), argument
    return request_id, token, "release", "", ""


def _record(record: Record) -> str:
    return members(record._asdict())


def settle(limits: Limits, settlements: Sequence[Settlement]) -> Command[Settled]:
    """Record finished attempts."""
    fields = chain.from_iterable(map(_fields, settlements))
    given = options(limits, calls=_calls(settlements)) if limits.counts else options(limits)
    return Command("settle", (given, *fields), _parse_settled)


def _calls(settlements: Sequence[Settlement]) -> dict[str, list[Any]]:
    """What each of these calls is counted as: most come to the same, which is said once."""
    kinds: dict[tuple[Verdict, int | None, int], int] = {}
    of: list[int] = []
    us: list[int] = []
    for one in settlements:
        if isinstance(one, Released):
            of.append(0)
            us.append(0)
            continue
        verdict, duration_ms, status, *_ = one.record
        kind = (verdict, status, bisect_left(CALL_BUCKETS_S, duration_ms / 1000))
        of.append(kinds.setdefault(kind, len(kinds) + 1))
        us.append(round(duration_ms * 1000))
    named = [
        (verdict, status_class(status), bucket_name(CALL_BUCKETS_S, at))
        for verdict, status, at in kinds
    ]
    return {"kinds": named, "of": of, "us": us}
