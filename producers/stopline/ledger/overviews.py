"""What is read of all requests: counters, pages of open ones, the last that ended. Pure.

Each call is bounded: none looks at more than it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stopline.contract import (
    Lane,
    LaneView,
    OpenPage,
    OpenPlace,
    Outcome,
    Overview,
    Recount,
    RequestFilter,
    ServerMemory,
    Snapshot,
    Target,
    TargetView,
    WrongCounter,
    from_microseconds,
    parse_counts,
)
from stopline.ledger import keys, layouts
from stopline.ledger.commands.encoding import members, numbers, options, text
from stopline.ledger.queries import parse_open, parse_result, parse_scored
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stopline.ledger.limits import Limits

LOOK_MAX: Final = 1_200
"""Records that one call looks at: some ten milliseconds of the server."""
RECOUNT_MAX: Final = 50_000
"""Records that are counted in one step: a tenth of a second."""
_SECOND: Final = 1_000_000


def overview(limits: Limits) -> Command[Overview]:
    """Everything that one look at all requests shows."""
    return Command("overview", (options(limits), *Lane), _parse_overview)


def _parse_overview(reply: Any) -> Overview:
    now, counts, dead, lanes, used, limit = reply
    views = zip(Lane, *(lanes[field::4] for field in range(4)), strict=True)
    return Overview(
        at=from_microseconds(int(now)),
        counts=parse_counts(numbers(counts)),
        lanes={
            lane: LaneView(int(count), _moment(oldest, _SECOND), *(_moment(one, 1) for one in rest))
            for lane, count, oldest, *rest in views
        },
        dead_letters=int(dead),
        memory=ServerMemory(int(used), int(limit)) if used else None,
    )


def _moment(score: bytes, unit_us: int) -> datetime | None:
    return from_microseconds(int(float(score)) * unit_us) if score else None


def history(since: datetime, count: int) -> Command[tuple[Snapshot, ...]]:
    """The counters as they were each minute, the oldest first."""
    milliseconds = int(since.timestamp() * 1000)

    def parse(reply: Any) -> tuple[Snapshot, ...]:
        kept = (numbers(fields) for _, fields in reply)
        return tuple(
            Snapshot(from_microseconds(fields.pop("at")), parse_counts(fields)) for fields in kept
        )

    given = (keys.HISTORY, str(milliseconds), "+", "COUNT", count)
    return Command("XRANGE", given, parse, is_script=False)


def open_page(wanted: RequestFilter, place: OpenPlace, limit: int) -> Command[OpenPage]:
    """Open requests of the place's lane from there on: so many, or those among `LOOK_MAX`."""
    given = {
        "limit": limit,
        "look_max": LOOK_MAX,
        "state": wanted.state,
        "target": _beginning(wanted),
        "task": None if wanted.user_id else wanted.task_id,
        "source": None if wanted.source is None else members({"source": wanted.source}),
        "batch": wanted.batch_id,
    }
    known = {name: value for name, value in given.items() if value is not None}
    arguments = (options(None, **known), place.lane, place.score, place.request_id)

    def parse(reply: Any) -> OpenPage:
        found, looked_at, score, last = reply
        requests = tuple(
            parse_open(text(one), layouts.RECORD.parse(record))
            for one, record in zip(found[::2], found[1::2], strict=True)
        )
        further = OpenPlace(place.lane, text(score), text(last)) if last else None
        return OpenPage(requests, int(looked_at), further)

    return Command("find_open", arguments, parse)


def _beginning(wanted: RequestFilter) -> str | None:
    """With which the texts of wanted targets begin; None where only a task is given, or nothing."""
    if wanted.user_id is None:
        return None
    return "/".join((wanted.user_id, *([wanted.task_id] if wanted.task_id else []), ""))


def recent_ids(first: int, count: int) -> Command[tuple[str, ...]]:
    """Ids of the requests that ended last, the newest first; the first is number 0."""
    return Command(
        "LRANGE",
        (keys.RECENT, first, first + count - 1),
        lambda reply: tuple(map(text, reply)),
        is_script=False,
    )


def recent_place(request_id: str) -> Command[int | None]:
    """The number of a request among the last that ended; None: it is not among them (any more)."""
    return Command(
        "LPOS",
        (keys.RECENT, request_id),
        lambda reply: None if reply is None else int(reply),
        is_script=False,
    )


def outcomes(request_ids: Sequence[str]) -> Command[tuple[Outcome, ...]]:
    """The outcomes of some requests; those whose time is over are left out."""
    return Command(
        "MGET",
        tuple(map(keys.result, request_ids)),
        lambda reply: tuple(one for raw in reply if raw and (one := parse_result(raw))),
        is_script=False,
    )


def target(wanted: Target) -> Command[TargetView | None]:
    """What is known of a target; None: nothing (any more)."""
    return Command(
        "GET", (keys.target(wanted),), lambda raw: _parse_target(wanted, raw), is_script=False
    )


def targets(wanted: Sequence[Target]) -> Command[tuple[TargetView | None, ...]]:
    """The same of some, in their order."""
    return Command(
        "MGET",
        tuple(keys.target(one) for one in wanted),
        lambda reply: tuple(map(_parse_target, wanted, reply)),
        is_script=False,
    )


def _parse_target(wanted: Target, raw: bytes | None) -> TargetView | None:
    if raw is None:
        return None
    fields = layouts.TARGET.parse(raw)

    def moment(name: str) -> datetime | None:
        return from_microseconds(int(fields[name])) if fields.get(name) else None

    return TargetView(
        wanted,
        fields.get("active") or None,
        fields.get("next") or None,
        moment("succeeded_at"),
        fields.get("succeeded_by") or None,
        moment("resumed_at"),
    )


def recount(*, repair: bool = False) -> Command[Recount]:
    """Count what is open anew; with `repair` the counters are put right."""
    rare = {"repair": True} if repair else {}

    def parse(reply: Any) -> Recount:
        total, *rest = reply
        wrong = rest[0] if rest else None
        if wrong is None:
            return Recount(int(total), None)
        rows = zip(wrong[::3], wrong[1::3], wrong[2::3], strict=True)
        found = (WrongCounter(text(name), int(said), int(there)) for name, said, there in rows)
        return Recount(int(total), tuple(found))

    return Command("recount", (options(None, limit=RECOUNT_MAX, **rare), *Lane), parse)


def recent_batches(until: int | None, count: int) -> Command[tuple[tuple[str, int], ...]]:
    """The last batches and when they began (microseconds), the newest first; before a moment."""
    high = "+inf" if until is None else f"({until}"
    given = (keys.BATCHES, high, "-inf", "WITHSCORES", "LIMIT", 0, count)
    return Command("ZREVRANGEBYSCORE", given, parse_scored, is_script=False)
