"""What a client can do, written once for both clients.

A verb is a generator: it yields steps (run a ledger command, send a message, wait for an outcome)
and gets each step's result back. `StopClient` and `AsyncStopClient` only take the steps, each in
its own way (the "sans-IO" pattern, https://sans-io.readthedocs.io).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, TypeVar

from stopline.contract import (
    MESSAGE_IDS_MAX,
    Batch,
    CancelResult,
    DeadLetter,
    DeadMessage,
    Heartbeat,
    Lane,
    Outcome,
    Receipt,
    Refusal,
    RefusalKind,
    ResumeResult,
    Status,
    StopRequest,
    check_name,
    from_microseconds,
    new_request_id,
)
from stopline.errors import (
    IdempotencyConflictError,
    InvalidRequestError,
    LedgerFullError,
    UnknownRequestError,
)
from stopline.ledger import commands, queries
from stopline.ledger.values import Accepted, Clock, Command, Limits, Promotion, Submission

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")

LOOK_AGAIN_S = 1.0
"""How long a waiter trusts its subscription before it looks itself."""
_PAGE = 250
_AHEAD = 2
"""How many calls to the ledger are under way while the results of an earlier one are handled. With
one, the ledger would be idle whenever the broker, on the same Redis, waits behind it."""


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Heartbeats, and the ledger's time to compare them with."""

    now: datetime
    processes: tuple[Heartbeat, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Run a ledger command; the step's result is its parsed reply."""

    command: Command[Any]


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin to run a ledger command; the step's result is for `Finish`.

    Commands run in the order of these steps, unless one has to be repeated. What is never finished
    may have run all the same.
    """

    command: Command[Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """Wait for a command that was begun; the step's result is its parsed reply."""

    begun: Any


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send ids to a lane's queue."""

    lane: Lane
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Republish:
    """Put a quarantined message back on its queue."""

    message: DeadMessage


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until the outcome is there, the time is over, or the ledger knows no such request.

    The step's result is the outcome or None.
    """

    request_id: str
    timeout_s: float | None


Step = Run | Begin | Finish | Dispatch | Republish | Await
Verb = Generator[Step, Any, T]


# --- stop --------------------------------------------------------------------------------------


def stop(limits: Limits, request: StopRequest) -> Verb[Receipt]:
    """Accept one request and dispatch it."""
    replies = yield from submit(limits, [Submission(request)])
    reply = replies[0]
    if reply.receipt is None:
        raise refused(_refusal(reply))
    return reply.receipt


def submit(limits: Limits, submissions: Sequence[Submission]) -> Verb[tuple[Accepted, ...]]:
    """Accept up to `MESSAGE_IDS_MAX` requests and dispatch them; refusals are returned."""
    replies: tuple[Accepted, ...] = yield Run(commands.accept(limits, submissions))
    yield from _dispatch(replies)
    return replies


Take = Callable[[Sequence[T], tuple[Accepted, ...]], None]


def submit_all(
    limits: Limits,
    items: Iterable[T],
    make: Callable[[T], Submission],
    take: Take[T],
) -> Verb[None]:
    """Accept any number of requests in order, and dispatch them.

    While the ledger works on some, the next ones are made: each side would else wait half the time.

    Args:
        limits: the limits.
        items: what the requests are made of.
        make: makes one.
        take: called with some items and what became of them, in their order.
    """
    under_way: deque[tuple[Sequence[T], Any]] = deque()
    for chunk in _chunks(items):
        begun = yield Begin(commands.accept(limits, [make(item) for item in chunk]))
        under_way.append((chunk, begun))
        if len(under_way) > _AHEAD:
            yield from _finish(*under_way.popleft(), take)
    while under_way:
        yield from _finish(*under_way.popleft(), take)


def _finish(chunk: Sequence[T], begun: Any, take: Take[T]) -> Verb[None]:
    replies: tuple[Accepted, ...] = yield Finish(begun)
    yield from _dispatch(replies)
    take(chunk, replies)


def submit_many(
    limits: Limits, requests: Iterable[StopRequest], batch_id: str
) -> Verb[tuple[Receipt | Refusal, ...]]:
    """Accept any number of requests as one batch; their order is their place in it."""
    results: list[Receipt | Refusal] = []

    def take(_chunk: object, replies: tuple[Accepted, ...]) -> None:
        first = len(results)
        results.extend(_result(reply, first + index) for index, reply in enumerate(replies))

    yield from submit_all(
        limits,
        enumerate(requests),
        lambda placed: Submission(placed[1], placed[0], batch_id),
        take,
    )
    return tuple(results)


def _chunks(items: Iterable[T]) -> Generator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, MESSAGE_IDS_MAX)):
        yield chunk


def _result(reply: Accepted, index: int) -> Receipt | Refusal:
    if reply.receipt is not None:
        return reply.receipt
    refusal = _refusal(reply)
    if refusal.kind is RefusalKind.MEMORY:
        raise refused(refusal)
    return refusal.model_copy(update={"index": index})


def _refusal(reply: Accepted) -> Refusal:
    assert reply.refusal is not None  # noqa: S101  # a reply is a receipt or a refusal
    return reply.refusal


def refused(refusal: Refusal) -> InvalidRequestError | LedgerFullError:
    """The error that says what a refusal says."""
    if refusal.kind is RefusalKind.MEMORY:
        return LedgerFullError(
            "Redis is close to its maxmemory: new requests are refused, so that open ones can "
            "settle. Raise maxmemory, or wait for outcomes."
        )
    conflict = refusal.kind is RefusalKind.CONFLICT
    kind = IdempotencyConflictError if conflict else InvalidRequestError
    field = refusal.field
    return kind(f"{field}: {refusal.reason}" if field else refusal.reason, field=field)


def _dispatch(replies: Iterable[Accepted]) -> Verb[None]:
    receipts = [reply.receipt for reply in replies if reply.dispatch and reply.receipt]
    yield from _dispatch_ids((receipt.lane, receipt.request_id) for receipt in receipts)


def _dispatch_promoted(promoted: Iterable[Promotion]) -> Verb[None]:
    yield from _dispatch_ids((one.lane, one.request_id) for one in promoted)


def _dispatch_ids(pairs: Iterable[tuple[Lane, str]]) -> Verb[None]:
    ordered = sorted(pairs, key=lambda pair: pair[0].urgency)
    for lane, group in groupby(ordered, key=lambda pair: pair[0]):
        yield Dispatch(lane, tuple(dict.fromkeys(request_id for _, request_id in group)))


# --- look --------------------------------------------------------------------------------------


def status(request_id: str) -> Verb[Status]:
    """The outcome or the state of a request, also by an id that follows another request."""
    found: Status | queries.Alias | None = yield Run(queries.status(request_id))
    if isinstance(found, queries.Alias):
        found = yield Run(queries.status(found.request_id))
    if found is None or isinstance(found, queries.Alias):
        raise UnknownRequestError(
            f"The ledger knows no request {request_id}: the id is wrong, or its outcome is older "
            "than STOPLINE_RESULT_TTL_S."
        )
    return found


def outcome(request_id: str) -> Verb[Outcome | None]:
    """The outcome, or None while there is none."""
    found: Outcome | None = yield Run(queries.outcome(request_id))
    return found


def wait(request_id: str, timeout_s: float | None) -> Verb[Outcome | None]:
    """The outcome as soon as it is there, or None when the time is over.

    Of a request that the ledger does not know there will be none, so that is an error at once.
    """
    found: Outcome | None = yield Await(request_id, timeout_s)
    if found is not None:
        return found
    known = yield from status(request_id)
    return known if isinstance(known, Outcome) else None


def batch(batch_id: str) -> Verb[Batch]:
    """Progress and report of a batch."""
    found: Batch | None = yield Run(queries.batch(batch_id))
    if found is None:
        raise UnknownRequestError(
            f"The ledger knows no batch {batch_id}: the id is wrong, or the batch is older than "
            "STOPLINE_RESULT_TTL_S."
        )
    return found


def heartbeats(limits: Limits) -> Verb[Heartbeats]:
    """Every worker process that was heard of lately, and the ledger's time."""
    ids: tuple[str, ...] = yield Run(queries.process_ids())
    found: tuple[Heartbeat, ...] = (yield Run(queries.heartbeats(ids))) if ids else ()
    clock: Clock = yield Run(commands.read_clock(limits))
    return Heartbeats(from_microseconds(clock.now), found)


# --- steer -------------------------------------------------------------------------------------


def cancel(limits: Limits, request_ids: Sequence[str], by: str) -> Verb[dict[str, CancelResult]]:
    """Cancel requests by id; `by` is a name like `source`, since every outcome repeats it."""
    check_name(by, "by")
    results: dict[str, CancelResult] = {}
    for first in range(0, len(request_ids), MESSAGE_IDS_MAX):
        chunk = request_ids[first : first + MESSAGE_IDS_MAX]
        words, promoted = yield Run(commands.cancel(limits, chunk, by))
        results.update(zip(chunk, words, strict=True))
        yield from _dispatch_promoted(promoted)
    return results


def cancel_batch(limits: Limits, batch_id: str, by: str) -> Verb[dict[CancelResult, int]]:
    """Cancel every request of a batch; the reply counts what came of it."""
    yield from batch(batch_id)
    counts = dict.fromkeys(CancelResult, 0)
    chunks: tuple[str, ...] = yield Run(queries.batch_chunks(batch_id))
    for chunk in chunks:
        request_ids: tuple[str, ...] = yield Run(queries.batch_ids(chunk))
        results = yield from cancel(limits, request_ids, by)
        for result in results.values():
            counts[result] += 1
    return counts


def resumed(limits: Limits, target: str, at: int | None) -> Verb[ResumeResult]:
    """Tell the ledger that a target was resumed (microseconds; None: now)."""
    result, promoted = yield Run(commands.resume(limits, target, at))
    yield from _dispatch_promoted(promoted)
    return result  # type: ignore[no-any-return]  # a step's result is Any by its nature


# --- dead letters ------------------------------------------------------------------------------


def dead_page(place: queries.DeadPlace) -> Verb[tuple[queries.DeadPlace, tuple[DeadLetter, ...]]]:
    """Some dead letters, and where to go on; that `is_end` after the last.

    The place is a moment, not a number: what is sent again or dropped meanwhile moves no others.
    """
    found: tuple[tuple[str, int], ...] = yield Run(queries.dead_ids(place, _PAGE))
    ids = [letter_id for letter_id, _ in found if letter_id not in place.seen]
    further = place.after(found)
    if not ids:
        return further, ()
    letters: tuple[DeadLetter | None, ...] = yield Run(queries.dead_letters(ids))
    return further, tuple(letter for letter in letters if letter is not None)


def dead_count(until: int) -> Verb[int]:
    """How many dead letters and messages there are that died until then (microseconds)."""
    count: int = yield Run(queries.dead_count(until))
    return count


def now(limits: Limits) -> Verb[int]:
    """The ledger's time, in microseconds."""
    clock: Clock = yield Run(commands.read_clock(limits))
    return clock.now


def dead_letter(letter_id: str) -> Verb[DeadLetter]:
    """One dead letter or quarantined message."""
    letters: tuple[DeadLetter | None, ...] = yield Run(queries.dead_letters([letter_id]))
    dead: bool = yield Run(queries.is_dead(letter_id))
    if letters[0] is None or not dead:
        raise UnknownRequestError(f"There is no dead letter {letter_id}.")
    return letters[0]


def redrive(limits: Limits, letters: Sequence[DeadLetter], by: str) -> Verb[dict[str, Receipt]]:
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
        pairs = [(letter.request_id, _again(letter, by)) for letter in chunk]
        replies: tuple[Accepted, ...] = yield Run(commands.redrive(limits, pairs))
        yield from _dispatch(replies)
        for letter, reply in zip(chunk, replies, strict=True):
            if reply.receipt is not None:
                receipts[letter.request_id] = reply.receipt
            elif _refusal(reply).kind is not RefusalKind.NOT_DEAD:
                raise refused(_refusal(reply))
    yield from _redrive_messages(messages)
    return receipts


def _again(letter: Outcome, by: str) -> Submission:
    """A new wish for the same target, issued now: the old one has its outcome for good."""
    request = StopRequest(
        user_id=letter.user_id,
        task_id=letter.task_id,
        sub_user_id=letter.sub_user_id,
        lane=letter.lane,
        source=by,
        reason=letter.reason,
        request_id=new_request_id(),
    )
    return Submission(request, redrive_of=letter.request_id)


def _check_whole(messages: Iterable[DeadMessage]) -> None:
    for message in messages:
        if message.truncated or message.queue is None:
            raise InvalidRequestError(
                f"Message {message.message_id} was kept only in part, so it cannot be sent "
                "again. Send a right one, and discard this."
            )


def _redrive_messages(messages: Iterable[DeadMessage]) -> Verb[None]:
    for message in messages:
        # Sent before it is dropped: a crash in between sends it twice rather than never.
        yield Republish(message)
        yield Run(commands.discard([message.message_id]))


def discard(letter_ids: Sequence[str]) -> Verb[dict[str, bool]]:
    """Drop dead letters; whether each was one."""
    results: dict[str, bool] = {}
    for first in range(0, len(letter_ids), MESSAGE_IDS_MAX):
        chunk = letter_ids[first : first + MESSAGE_IDS_MAX]
        found: tuple[bool, ...] = yield Run(commands.discard(chunk))
        results.update(zip(chunk, found, strict=True))
    return results
