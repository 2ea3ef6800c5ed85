"""What is asked of the ledger: commands that change it, built and read by pure functions.

The sync and the asyncio ledger run the same commands, so there is one implementation of each verb.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import orjson

from stopline.contract import (
    CancelResult,
    Lane,
    Receipt,
    ReceiptKind,
    Refusal,
    RefusalKind,
    ResumeResult,
    StopRequest,
    to_microseconds,
)
from stopline.ledger import keys
from stopline.ledger.values import (
    Accepted,
    Claimed,
    Clock,
    Command,
    Grant,
    Limits,
    Promotion,
    Quarantined,
    Renewed,
    Settled,
    Settlement,
    Submission,
    SuspectRoom,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REFUSALS: Final[dict[RefusalKind, tuple[str | None, str]]] = {
    RefusalKind.CONFLICT: (
        "idempotency_key",
        "this idempotency key, request id or place in the batch was used for another target",
    ),
    RefusalKind.TOO_OLD: (
        "issued_at",
        "this is longer ago than the ledger remembers (STOPLINE_RESULT_TTL_S)",
    ),
    RefusalKind.NOT_AFTER_PASSED: ("not_after", "this time has passed"),
    RefusalKind.TOO_FAR: (
        "not_after",
        "this is later than outcomes are kept for (STOPLINE_RESULT_TTL_S)",
    ),
    RefusalKind.ALIASES: (
        None,
        "too many senders wait for this target under ids of their own; use a client",
    ),
    RefusalKind.BATCHES: (
        "batch_id",
        "too many batches wait for this target; send it without one, or when it has its outcome",
    ),
    RefusalKind.MEMORY: (None, "Redis is close to its maxmemory"),
    RefusalKind.NOT_DEAD: (None, "this is no dead letter (any more)"),
}
"""Why the scripts refuse: the field that is wrong, and the reason for a person."""


_RECEIPT_KINDS: Final = {kind.value: kind for kind in ReceiptKind}
_LANES: Final = {lane.value: lane for lane in Lane}


def members(fields: dict[str, Any]) -> str:
    """A JSON object's members without its braces; nulls are left out."""
    present = {name: value for name, value in fields.items() if value is not None}
    return orjson.dumps(present).decode()[1:-1]


def json_string(text: str) -> str:
    """The text as a JSON string, quotes included."""
    return orjson.dumps(text).decode()


def _options(limits: Limits | None = None, **extra: object) -> bytes:
    return orjson.dumps({**(limits.to_options() if limits else {}), **extra})


def _text(value: bytes) -> str:
    return value.decode()


def _promotions(flat: Sequence[bytes]) -> tuple[Promotion, ...]:
    words = [_text(word) for word in flat]
    return tuple(
        Promotion(request_id, Lane(lane))
        for request_id, lane in zip(words[::2], words[1::2], strict=True)
    )


@lru_cache(maxsize=1024)
def _wish(source: str, reason: str | None) -> str:
    """Who asks and why, as JSON members: the same for most requests of a producer."""
    return members({"source": source, "reason": reason})


@lru_cache(maxsize=1024)
def _batch_member(batch_id: str | None) -> str:
    return f',"batch_id":{json_string(batch_id)}' if batch_id else ""


def _item(submission: Submission) -> str:
    """One request as `accept` reads it: a field a line, in the order of `_accept.lua`."""
    request, place, batch_id, alias, redrive_of = submission
    batch_id = batch_id or request.batch_id
    target = request.target
    more = _batch_member(batch_id)
    if request.idempotency_key or redrive_of:
        rare = {"idempotency_key": request.idempotency_key, "redrive_of": redrive_of}
        more = f"{more},{members(rare)}"
    return "\n".join(
        (
            request.request_id,
            target,
            keys.target_digest(target),
            request.lane.value,
            str(to_microseconds(request.issued_at)) if request.issued_at else "",
            str(to_microseconds(request.not_after)) if request.not_after else "",
            _wish(request.source, request.reason),
            more,
            batch_id or "",
            "" if place is None else str(place),
            "1" if alias else "",
            request.idempotency_key or "",
        )
    )


def _parse_accepted(submissions: Sequence[Submission], reply: Any) -> tuple[Accepted, ...]:
    fields = [_text(field) for field in reply[1]]
    rows = zip(fields[::4], fields[1::4], fields[2::4], fields[3::4], strict=True)
    return tuple(
        _accepted(index, submission.request, *row)
        for index, (submission, row) in enumerate(zip(submissions, rows, strict=True))
    )


def _accepted(
    index: int, request: StopRequest, kind: str, request_id: str, lane: str, dispatch: str
) -> Accepted:
    if kind == "refused":
        refused = RefusalKind(request_id)
        field, reason = REFUSALS[refused]
        refusal = Refusal(index=index, kind=refused, field=field, reason=reason)
        return Accepted(None, refusal, dispatch=False)
    receipt = Receipt(
        request_id,
        _RECEIPT_KINDS[kind],
        request.user_id,
        request.task_id,
        request.sub_user_id,
        _LANES[lane],
    )
    return Accepted(receipt, None, dispatch=dispatch == "1")


def accept(
    limits: Limits, submissions: Sequence[Submission], *, expire_late: bool = False
) -> Command[tuple[Accepted, ...]]:
    """Take requests into the ledger.

    Args:
        limits: the limits.
        submissions: at most `MESSAGE_IDS_MAX`.
        expire_late: a `not_after` that has passed makes the outcome `expired`, not a refusal:
            for a message that waited in a queue.
    """
    items = map(_item, submissions)
    return Command(
        "accept",
        (_options(limits, expire_late=expire_late), *items),
        lambda reply: _parse_accepted(submissions, reply),
        durable=limits.durable,
    )


def redrive(
    limits: Limits, letters: Sequence[tuple[str, Submission]]
) -> Command[tuple[Accepted, ...]]:
    """Send dead letters again: each id with the new request that takes its place."""
    fields = [field for old, new in letters for field in (old, _item(new))]
    submissions = [new for _, new in letters]
    return Command(
        "redrive",
        (_options(limits), *fields),
        lambda reply: _parse_accepted(submissions, reply),
        durable=limits.durable,
    )


def _grants(flat: Sequence[bytes]) -> tuple[Grant, ...]:
    words = [_text(word) for word in flat]
    return tuple(
        Grant(request_id, target, int(attempt), int(not_after), int(lease_end), int(lost), token)
        for request_id, target, attempt, not_after, lease_end, lost, token in zip(
            *(words[field::7] for field in range(7)), strict=True
        )
    )


def _parse_claimed(reply: Any) -> Claimed:
    now, grants, promoted, *rest = reply
    next_due = int(rest[0]) if rest and rest[0] else None
    return Claimed(int(now), _grants(grants), _promotions(promoted), next_due)


def claim(
    limits: Limits,
    request_ids: Iterable[str],
    token: str,
    *,
    suspect_room: SuspectRoom | None = None,
) -> Command[Claimed]:
    """Claim requests by id; those that cannot be called for now are left as they are."""
    options = _claim_options(limits, token, suspect_room)
    return Command("claim", (options, *request_ids), _parse_claimed)


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
    options = _claim_options(limits, token, suspect_room, limit=limit)
    return Command("claim_due", (options, *ordered), _parse_claimed)


def _claim_options(
    limits: Limits, token: str, suspect_room: SuspectRoom | None, **extra: int
) -> bytes:
    if suspect_room is None:
        return _options(limits, token=token, **extra)
    return _options(limits, token=token, suspect_room=suspect_room, **extra)


def renew(limits: Limits, leases: Iterable[tuple[str, str]]) -> Command[Renewed]:
    """Extend leases, given as request id and token."""
    fields = [field for lease in leases for field in lease]
    return Command(
        "renew",
        (_options(limits), *fields),
        lambda reply: Renewed(int(reply[0]), tuple(bool(word) for word in reply[1])),
    )


def _parse_settled(reply: Any) -> Settled:
    return Settled(tuple(_text(word) for word in reply[1]), _promotions(reply[2]))


def settle(limits: Limits, settlements: Iterable[Settlement]) -> Command[Settled]:
    """Record finished attempts."""
    fields = chain.from_iterable(settlements)
    return Command("settle", (_options(limits), *fields), _parse_settled)


Promotions = tuple[Promotion, ...]


def cancel(
    limits: Limits, request_ids: Sequence[str], by: str
) -> Command[tuple[tuple[CancelResult, ...], Promotions]]:
    """Cancel requests in the name of `by`."""
    detail = json_string(f"Cancelled by {by}.")
    return Command(
        "cancel",
        (_options(limits, detail=detail), *request_ids),
        lambda reply: (
            tuple(CancelResult(_text(word)) for word in reply[0]),
            _promotions(reply[1]),
        ),
        durable=limits.durable,
    )


def resume(limits: Limits, target: str, at: int | None) -> Command[tuple[ResumeResult, Promotions]]:
    """Learn that a target was resumed, `at` in microseconds (None: now, by the ledger's clock)."""
    return Command(
        "resume",
        (_options(limits), keys.target_digest(target), "" if at is None else str(at)),
        lambda reply: (
            ResumeResult(
                superseded=tuple(_text(request_id) for request_id in reply[0]),
                in_flight=_text(reply[1]) or None,
            ),
            _promotions(reply[2]),
        ),
        durable=limits.durable,
    )


def discard(letter_ids: Sequence[str]) -> Command[tuple[bool, ...]]:
    """Drop dead letters; the reply says for each whether it was one."""
    return Command(
        "discard", (_options(), *letter_ids), lambda reply: tuple(bool(word) for word in reply)
    )


def quarantine(
    limits: Limits, message_id: str, fields: dict[str, Any], body: str
) -> Command[Quarantined]:
    """Keep a message that no worker can handle; fields as in `DeadMessage`, body as base64."""
    headers = orjson.dumps(fields.get("headers") or {}).decode()
    known = members({"message_id": message_id, **fields, "headers": None})
    return Command(
        "quarantine",
        (_options(limits), message_id, known, f"{headers}\n{body}"),
        lambda reply: Quarantined(int(reply[0]), int(reply[1])),
    )


def beat(
    limits: Limits, process_id: str, fields: dict[str, Any], since_s: dict[str, float | None]
) -> Command[None]:
    """Write down that a process lives.

    Args:
        limits: the limits.
        process_id: unlike that of any other process.
        fields: what it says of itself, as in `Heartbeat`.
        since_s: seconds since the moments of `Heartbeat`; None: that never happened.
    """
    moments = [
        word
        for name, seconds in since_s.items()
        if seconds is not None
        for word in (name, str(round(seconds * 1_000_000)))
    ]
    return Command(
        "beat",
        (_options(limits), process_id, members({"process_id": process_id, **fields}), *moments),
        lambda _reply: None,
    )


def leave(process_id: str) -> Command[None]:
    """Take back the heartbeat of a process that ends in order."""
    return Command("leave", (_options(), process_id), lambda _reply: None)


def read_clock(limits: Limits) -> Command[Clock]:
    """Ask the ledger what time it is."""
    return Command("time", (_options(limits),), lambda reply: Clock(int(reply[0]), int(reply[1])))
