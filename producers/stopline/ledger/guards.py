"""Guards in the ledger: read, applied, reset; held requests listed, let go, dropped. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson

from stopline.contract import (
    MESSAGE_IDS_MAX,
    Guard,
    Guards,
    GuardView,
    HeldPlace,
    HoldResult,
    Trip,
    from_microseconds,
)
from stopline.ledger import keys, layouts
from stopline.ledger.commands.auditing import audit_options
from stopline.ledger.commands.encoding import json_string, options, pairs, promotions, text
from stopline.ledger.queries import parse_open, parse_scored
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stopline.contract import OpenRequest
    from stopline.ledger.commands.encoding import Promotions
    from stopline.ledger.limits import Limits


def guards(limits: Limits) -> Command[Guards]:
    """All guards, and how they are."""
    return Command("guards", (options(limits),), _parse)


def write(rules: Sequence[Guard]) -> str:
    """Guards as the ledger keeps them."""
    return orjson.dumps([one.model_dump(mode="json", exclude_none=True) for one in rules]).decode()


def apply_guards(
    limits: Limits, rules: Sequence[Guard], seen: str, audit: str | None
) -> Command[bool]:
    """Put guards in the place of those that were seen; False where others are there meanwhile."""
    given = options(limits, **audit_options(limits, [audit]))
    return Command("apply_guards", (given, write(rules), seen), bool, durable=limits.durable)


def reset_guard(limits: Limits, source: str, audit: str | None) -> Command[bool | None]:
    """Let a guard begin anew; whether it had tripped, None where there is no such guard."""
    given = options(limits, **audit_options(limits, [audit]))
    return Command(
        "reset_guard",
        (given, source),
        lambda reply: None if reply < 0 else bool(reply),
        durable=limits.durable,
    )


def release(
    limits: Limits, request_ids: Sequence[str], audit: str | None, *, dropped_by: str | None = None
) -> Command[tuple[tuple[HoldResult, ...], Promotions]]:
    """Let held requests go; with `dropped_by`, cancel them in somebody's name."""
    given = audit_options(limits, [audit])
    if dropped_by is not None:
        given["detail"] = json_string(f"Held, and discarded by {dropped_by}.")
    return Command(
        "release",
        (options(limits, **given), *request_ids),
        lambda reply: (tuple(HoldResult(text(one)) for one in reply[0]), promotions(reply[1])),
        durable=limits.durable,
    )


def held_ids(place: HeldPlace, limit: int) -> Command[tuple[tuple[str, int], ...]]:
    """Ids of what a guard holds, with their scores, the oldest first: those after a place."""
    # Of one moment there are as many as one call accepts, and the place is among them.
    given = (keys.HELD + place.source, place.score, "+inf", "BYSCORE", "LIMIT", 0)

    def parse(reply: Any) -> tuple[tuple[str, int], ...]:
        found = ((at, one) for one, at in parse_scored(reply))
        return tuple((one, at) for at, one in found if (at, one) > (place.score, place.request_id))

    count = limit + MESSAGE_IDS_MAX
    return Command("ZRANGE", (*given, count, "WITHSCORES"), parse, is_script=False)


def open_requests(request_ids: Sequence[str]) -> Command[tuple[OpenRequest, ...]]:
    """Those of some requests that are open."""

    def parse(reply: Any) -> tuple[OpenRequest, ...]:
        found = ((one, raw) for one, raw in zip(request_ids, reply, strict=True) if raw)
        return tuple(parse_open(one, layouts.RECORD.parse(raw)) for one, raw in found)

    names = tuple(keys.record(one) for one in request_ids)
    return Command("MGET", names, parse, is_script=False)


def _parse(reply: Any) -> Guards:
    now, raw, found = reply
    at, version = from_microseconds(int(now)), text(raw)
    known = orjson.loads(version) if version else []
    rules = {one["source"]: Guard.model_validate(one) for one in known}
    rows = zip(found[::4], found[1::4], found[2::4], found[3::4], strict=True)
    views = (
        _view(at, rules, text(source), pairs(state), held, oldest)
        for source, state, held, oldest in rows
    )
    return Guards(at, tuple(views), version)


def _view(
    at: datetime,
    rules: dict[str, Guard],
    source: str,
    state: dict[str, str],
    held: int,
    oldest: bytes,
) -> GuardView:
    guard = rules.get(source)
    tripped = state.get("tripped_at")
    tripped_at = from_microseconds(int(tripped)) if tripped else None
    auto_reset_s = guard.auto_reset_s if guard else None
    resets_at = (
        tripped_at + timedelta(seconds=auto_reset_s) if tripped_at and auto_reset_s else None
    )
    if resets_at is not None and resets_at <= at:  # the next request finds it so
        tripped_at = resets_at = None
    is_canary = bool(guard and guard.canary and state.get("canary"))
    return GuardView(
        source,
        guard,
        trip=Trip(state["trip"]) if tripped_at else None,
        tripped_at=tripped_at,
        resets_at=resets_at,
        held=int(held),
        oldest_held_at=from_microseconds(int(float(oldest))) if oldest else None,
        canary_done=int(state.get("done", 0)) if is_canary else None,
        canary_failed=int(state.get("failed", 0)) if is_canary else None,
    )
