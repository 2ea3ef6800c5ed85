"""What people ask: cancel, resume, discard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopline.contract import CancelResult, ResumeResult, Target
from stopline.errors import InvalidRequestError
from stopline.ledger import keys
from stopline.ledger.commands.auditing import audit_options
from stopline.ledger.commands.encoding import (
    Promotions,
    json_string,
    members,
    options,
    promotions,
    text,
)
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits


def cancel(
    limits: Limits,
    request_ids: Sequence[str],
    by: str,
    *,
    only_source: str | None = None,
    audit: str | None = None,
) -> Command[tuple[tuple[CancelResult, ...], Promotions]]:
    """Cancel requests in the name of `by`; with `only_source`, those that nobody else asked for."""
    detail = json_string(f"Cancelled by {by}.")
    own = {} if only_source is None else {"only": members({"source": only_source})}
    return Command(
        "cancel",
        (options(limits, detail=detail, **own, **audit_options(limits, [audit])), *request_ids),
        lambda reply: (
            tuple(CancelResult(text(word)) for word in reply[0]),
            promotions(reply[1]),
        ),
        durable=limits.durable,
    )


def resume(
    limits: Limits, target: Target, at: int | None, audit: str | None = None
) -> Command[tuple[ResumeResult, Promotions]]:
    """Learn that a target was resumed, `at` in microseconds (None: now, by the ledger's clock)."""
    given = options(limits, **audit_options(limits, [audit]))
    return Command(
        "resume",
        (given, keys.target_digest(str(target)), "" if at is None else str(at)),
        _parse_resumed,
        durable=limits.durable,
    )


def _parse_resumed(reply: Any) -> tuple[ResumeResult, Promotions]:
    if len(reply) == 1:
        raise InvalidRequestError(
            "at: the time of the resume is more than five minutes ahead of the server's clock",
            field="at",
        )
    superseded, in_flight, promoted = reply
    result = ResumeResult(
        superseded=tuple(text(request_id) for request_id in superseded),
        in_flight=text(in_flight) or None,
    )
    return result, promotions(promoted)


def discard(
    limits: Limits, letter_ids: Sequence[str], audit: str | None = None
) -> Command[tuple[bool, ...]]:
    """Drop dead letters; the reply says for each whether it was one."""
    return Command(
        "discard",
        (options(None, **audit_options(limits, [audit])), *letter_ids),
        lambda reply: tuple(bool(word) for word in reply),
    )
