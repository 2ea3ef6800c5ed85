"""Taking requests in: accept, and redrive of dead letters."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from stopline.contract import (
    Lane,
    Receipt,
    ReceiptKind,
    Refusal,
    RefusalKind,
    StopRequest,
    to_microseconds,
)
from stopline.contract.targets import join
from stopline.ledger import keys
from stopline.ledger.commands.auditing import audit_options
from stopline.ledger.commands.encoding import json_string, members, options, text
from stopline.ledger.values import Accepted, Command, Submission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits

REFUSALS: Final[dict[RefusalKind, tuple[str | None, str]]] = {
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
    RefusalKind.REVOKED: (None, "Celery's revoke has ended this message before it was accepted"),
}
"""Why the scripts refuse: the field that is wrong, and the reason for a person."""
_CONFLICTS: Final = {
    "id": ("request_id", "this id is of a request for another target"),
    "place": (
        "batch_id",
        "this place in the batch was taken by another target: another body needs another batch_id",
    ),
    "key": ("idempotency_key", "this key was used for another target"),
}
"""The same where a request is known already, by what it is known by."""
Replies = tuple[Accepted | Refusal, ...]
"""What accepting some submissions came to, in their order."""

_RECEIPT_KINDS: Final = {kind.value: kind for kind in ReceiptKind}
_LANES: Final = {lane.value: lane for lane in Lane}


@lru_cache(maxsize=1024)
def _wish(source: str, reason: str | None) -> str:
    """Who asks and why, as JSON members: the same for most requests of a producer."""
    return members({"source": source, "reason": reason})


@lru_cache(maxsize=1024)
def _batch_member(batch_id: str | None) -> str:
    return f',"batch_id":{json_string(batch_id)}' if batch_id else ""


def _item(submission: Submission) -> str:
    """One request as `accept` reads it: a field a line, in the order of `_item.lua`."""
    request, place, batch_id, alias, redrive_of, _ = submission
    batch_id = batch_id or request.batch_id
    target = join(request.user_id, request.task_id, request.sub_user_id)
    more = _batch_member(batch_id)
    if request.idempotency_key or redrive_of or request.traceparent or request.callback_url:
        rare = {
            "idempotency_key": request.idempotency_key,
            "redrive_of": redrive_of,
            "traceparent": request.traceparent,
            "callback_url": request.callback_url,
        }
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


def _parse_accepted(submissions: Sequence[Submission], reply: Any) -> Replies:
    fields = [text(field) for field in reply[1]]
    rows = zip(fields[::4], fields[1::4], fields[2::4], fields[3::4], strict=True)
    return tuple(
        _accepted(index, submission.request, *row)
        for index, (submission, row) in enumerate(zip(submissions, rows, strict=True))
    )


def _refusal(index: int, why: RefusalKind, known_by: str) -> Refusal:
    is_conflict = why is RefusalKind.CONFLICT
    field, reason = _CONFLICTS[known_by] if is_conflict else REFUSALS[why]
    return Refusal(index=index, kind=why, field=field, reason=reason)


def _accepted(
    index: int, request: StopRequest, kind: str, request_id: str, lane: str, dispatch: str
) -> Accepted | Refusal:
    if kind == "refused":
        return _refusal(index, RefusalKind(request_id), known_by=lane)
    receipt = Receipt(
        request_id,
        _RECEIPT_KINDS[kind],
        request.user_id,
        request.task_id,
        request.sub_user_id,
        _LANES[lane],
    )
    return Accepted(receipt, dispatch=dispatch == "1")


def accept(
    limits: Limits,
    submissions: Sequence[Submission],
    *,
    expire_late: bool = False,
    tells: bool = True,
) -> Command[Replies]:
    """Take requests into the ledger.

    Args:
        limits: the limits.
        submissions: at most `MESSAGE_IDS_MAX`.
        expire_late: a `not_after` that has passed makes the outcome `expired`, not a refusal:
            for a message that waited in a queue.
        tells: put messages on the lanes' queues, if the ledger has them.
    """
    items = map(_item, submissions)
    rare = _rare(expire_late=expire_late, queues_here=tells and limits.queues_here)
    return Command(
        "accept",
        (options(limits, **rare, **_audit(limits, submissions)), *items),
        lambda reply: _parse_accepted(submissions, reply),
        durable=limits.durable,
    )


def rehearse(
    limits: Limits, submissions: Sequence[Submission], before: str
) -> Command[tuple[Replies, str]]:
    """Learn what accepting some requests would come to now; the ledger stays as it is.

    Args:
        limits: the limits.
        submissions: at most `MESSAGE_IDS_MAX`.
        before: what this gave for those before, so that guards count them; "" for the first.
    """
    return Command(
        "rehearse",
        (options(limits), before, *map(_item, submissions)),
        lambda reply: (_parse_accepted(submissions, reply), text(reply[2])),
    )


def _audit(limits: Limits, submissions: Sequence[Submission]) -> dict[str, object]:
    return audit_options(limits, [one.audit for one in submissions])


def _rare(**options: bool) -> dict[str, bool]:
    return {name: True for name, value in options.items() if value}


def redrive(limits: Limits, letters: Sequence[tuple[str, Submission]]) -> Command[Replies]:
    """Send dead letters again: each id with the new request that takes its place."""
    fields = [field for old, new in letters for field in (old, _item(new))]
    submissions = [new for _, new in letters]
    return Command(
        "redrive",
        (
            options(limits, **_rare(queues_here=limits.queues_here), **_audit(limits, submissions)),
            *fields,
        ),
        lambda reply: _parse_accepted(submissions, reply),
        durable=limits.durable,
    )
