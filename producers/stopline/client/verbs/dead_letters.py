"""Dead letters: looking at them, sending them again, dropping them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client.verbs.dispatching import dispatch
from stopline.client.verbs.steps import Republish, Verb, run
from stopline.contract import (
    MESSAGE_IDS_MAX,
    AuditAction,
    DeadLetter,
    DeadMessage,
    Outcome,
    Receipt,
    RefusalKind,
    StopRequest,
    check_name,
    new_request_id,
)
from stopline.errors import InvalidRequestError, UnknownRequestError
from stopline.ledger import commands, queries
from stopline.ledger.values import Accepted, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stopline.contract import Actor
    from stopline.ledger.limits import Limits

_PAGE = 250


def dead_page(place: queries.DeadPlace) -> Verb[tuple[queries.DeadPlace, tuple[DeadLetter, ...]]]:
    """Some dead letters, and where to go on; that `is_end` after the last.

    The place is a moment, not a number: what is sent again or dropped meanwhile moves no others.
    """
    found = yield from run(queries.dead_ids(place, _PAGE))
    ids = [letter_id for letter_id, _ in found if letter_id not in place.seen]
    further = place.after(found)
    if not ids:
        return further, ()
    letters = yield from run(queries.dead_letters(ids))
    return further, tuple(letter for letter in letters if letter is not None)


def dead_count(until: int) -> Verb[int]:
    """How many dead letters and messages there are that died until then (microseconds)."""
    count = yield from run(queries.dead_count(until))
    return count


def dead_letter(letter_id: str) -> Verb[DeadLetter]:
    """One dead letter or quarantined message."""
    letters = yield from run(queries.dead_letters([letter_id]))
    dead = yield from run(queries.is_dead(letter_id))
    if letters[0] is None or not dead:
        raise UnknownRequestError(f"There is no dead letter {letter_id}.")
    return letters[0]


def redrive(
    limits: Limits,
    letters: Sequence[DeadLetter],
    by: str,
    *,
    actor: Actor | None = None,
    new_id: Callable[[], str] = new_request_id,
) -> Verb[dict[str, Receipt]]:
    """Send dead letters again, each as a new request; a quarantined message as it came.

    Returns:
        The receipt of each new request by the id of the dead letter. Letters that somebody else
        took meanwhile, and messages, have none.

    Raises:
        InvalidRequestError: a message was kept only in part; nothing was sent.
        LedgerFullError: Redis is close to its maxmemory.
    """
    check_name(by, "by")
    receipts: dict[str, Receipt] = {}
    messages = [letter for letter in letters if isinstance(letter, DeadMessage)]
    _check_whole(messages)
    outcomes = [letter for letter in letters if isinstance(letter, Outcome)]
    for first in range(0, len(outcomes), MESSAGE_IDS_MAX):
        chunk = outcomes[first : first + MESSAGE_IDS_MAX]
        pairs = [(letter.request_id, _again(letter, by, new_id(), actor)) for letter in chunk]
        replies = yield from run(commands.redrive(limits, pairs))
        yield from dispatch(replies)
        for letter, reply in zip(chunk, replies, strict=True):
            if isinstance(reply, Accepted):
                receipts[letter.request_id] = reply.receipt
            elif reply.kind is not RefusalKind.NOT_DEAD:
                raise reply.as_error()
    yield from _redrive_messages(limits, messages, actor)
    return receipts


def _again(letter: Outcome, by: str, request_id: str, actor: Actor | None) -> Submission:
    """A new wish for the same target, issued now: the old one has its outcome for good."""
    request = StopRequest(
        user_id=letter.user_id,
        task_id=letter.task_id,
        sub_user_id=letter.sub_user_id,
        lane=letter.lane,
        source=by,
        reason=letter.reason,
        request_id=request_id,
    )
    audit = actor and commands.audit_text(
        AuditAction.REDRIVE, actor, request_ids=(letter.request_id,), **letter.target._asdict()
    )
    return Submission(request, redrive_of=letter.request_id, audit=audit)


def _check_whole(messages: Iterable[DeadMessage]) -> None:
    for message in messages:
        if message.origin is not None:
            raise InvalidRequestError(
                f"Message {message.message_id} came from a stream ({message.origin}). Send a right "
                "one there, and discard this."
            )
        if not message.can_be_redriven:
            raise InvalidRequestError(
                f"Message {message.message_id} was kept only in part, so it cannot be sent "
                "again. Send a right one, and discard this."
            )


def _redrive_messages(
    limits: Limits, messages: Iterable[DeadMessage], actor: Actor | None
) -> Verb[None]:
    for message in messages:
        # Sent before it is dropped: a crash in between sends it twice rather than never.
        yield Republish(message)
        ids = [message.message_id]
        audit = actor and commands.audit_text(AuditAction.REDRIVE, actor, request_ids=ids)
        yield from run(commands.discard(limits, ids, audit))


def discard(
    limits: Limits, letter_ids: Sequence[str], actor: Actor | None = None
) -> Verb[dict[str, bool]]:
    """Drop dead letters; whether each was one."""
    results: dict[str, bool] = {}
    for first in range(0, len(letter_ids), MESSAGE_IDS_MAX):
        chunk = letter_ids[first : first + MESSAGE_IDS_MAX]
        audit = actor and commands.audit_text(AuditAction.DISCARD, actor, request_ids=chunk)
        found = yield from run(commands.discard(limits, chunk, audit))
        results.update(zip(chunk, found, strict=True))
    return results
