"""Asking for targets to be stopped: one, many, or a stream of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from stopline import telemetry
from stopline.client.verbs.dispatching import dispatch
from stopline.client.verbs.steps import Begun, T, Verb, begin, finish, run
from stopline.contract import (
    REQUESTS_A_CALL,
    AuditAction,
    Receipt,
    Refusal,
    RefusalKind,
    StopRequest,
)
from stopline.ledger import commands
from stopline.ledger.commands import Replies
from stopline.ledger.values import Accepted, Submission

if TYPE_CHECKING:
    from stopline.contract import Actor
    from stopline.ledger.limits import Limits

_AHEAD = 4
"""How many calls to the ledger are under way while the results of an earlier one are handled. With
one, the ledger would be idle while this side makes the next."""


def submission(request: StopRequest, actor: Actor | None) -> Submission:
    """A request on its way in; the audit trail says who sent it, where that is to be told."""
    if actor is None:
        return Submission(request)
    about = {
        "request_ids": (request.request_id,),
        "user_id": request.user_id,
        "task_id": request.task_id,
        "sub_user_id": request.sub_user_id,
        "batch_id": request.batch_id,
    }
    return Submission(request, audit=commands.audit_text(AuditAction.STOP, actor, **about))


def submit(limits: Limits, submissions: Sequence[Submission]) -> Verb[Replies]:
    """Accept up to `MESSAGE_IDS_MAX` requests and dispatch them; refusals are returned."""
    replies = yield from run(commands.accept(limits, submissions))
    yield from dispatch(replies)
    return replies


Take = Callable[[Sequence[T], Replies], None]


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
    under_way: deque[tuple[Sequence[T], Begun[Replies]]] = deque()
    for chunk in _chunks(items):
        begun = yield from begin(commands.accept(limits, [make(item) for item in chunk]))
        under_way.append((chunk, begun))
        if len(under_way) > _AHEAD:
            yield from _finish(*under_way.popleft(), take)
    while under_way:
        yield from _finish(*under_way.popleft(), take)


def _finish(chunk: Sequence[T], begun: Begun[Replies], take: Take[T]) -> Verb[None]:
    replies = yield from finish(begun)
    yield from dispatch(replies)
    take(chunk, replies)


def submit_many(
    limits: Limits, requests: Iterable[StopRequest], batch_id: str
) -> Verb[tuple[Receipt | Refusal, ...]]:
    """Accept any number of requests as one batch; their order is their place in it."""
    placed = enumerate(_traced(requests))
    return (yield from _results(limits, placed, lambda one: Submission(one[1], one[0], batch_id)))


def submit_each(
    limits: Limits, requests: Iterable[StopRequest]
) -> Verb[tuple[Receipt | Refusal, ...]]:
    """Accept any number of requests, each for itself."""
    return (yield from _results(limits, _traced(requests), Submission))


def _traced(requests: Iterable[StopRequest]) -> Iterable[StopRequest]:
    """Requests of many, in the context of who sends them, where traces are kept."""
    return map(telemetry.in_context, requests) if telemetry.is_on() else requests


def _results(
    limits: Limits, items: Iterable[T], make: Callable[[T], Submission]
) -> Verb[tuple[Receipt | Refusal, ...]]:
    results: list[Receipt | Refusal] = []

    def take(_chunk: object, replies: Replies) -> None:
        first = len(results)
        results.extend(_result(reply, first + index) for index, reply in enumerate(replies))

    yield from submit_all(limits, items, make, take)
    return tuple(results)


def _chunks(items: Iterable[T]) -> Generator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, REQUESTS_A_CALL)):
        yield chunk


def _result(reply: Accepted | Refusal, index: int) -> Receipt | Refusal:
    if isinstance(reply, Accepted):
        return reply.receipt
    if reply.kind is RefusalKind.MEMORY:
        raise reply.as_error()
    return reply.model_copy(update={"index": index})
