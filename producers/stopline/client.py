"""The clients: the only way in for producers, the command line, and whatever comes later.

from stopline import StopClient

with StopClient() as client:
    receipt = client.stop("5832d184", "f232d184", source="budget-guard", reason="over budget")
    outcome = client.wait(receipt.request_id, timeout_s=30)
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack, assert_never

from stopline import verbs
from stopline.contract import (
    Batch,
    CancelResult,
    DeadLetter,
    Lane,
    Outcome,
    Receipt,
    Refusal,
    ResumeResult,
    Status,
    StopRequest,
    new_request_id,
    to_microseconds,
)
from stopline.embedded import url_of_running
from stopline.errors import InvalidRequestError, OutcomeTimeoutError
from stopline.ledger import AsyncLedger, Ledger, connect, connect_async, keys, queries
from stopline.ledger.ledger import translated
from stopline.ledger.values import Accepted, Policy, Submission
from stopline.publisher import Publisher
from stopline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

T = TypeVar("T")

_LOOK_AGAIN_S = 1.0
"""How long a waiter trusts its subscription before it looks itself."""
_PAGE = 250


class StopFields(TypedDict, total=False):
    """The optional fields of a stop request."""

    sub_user_id: str | None
    lane: Lane | str
    source: str
    reason: str | None
    issued_at: datetime | str | None
    not_after: datetime | str | None
    idempotency_key: str | None
    batch_id: str | None
    request_id: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """What submitting a batch came to, in the order of its requests."""

    batch_id: str
    results: tuple[Receipt | Refusal, ...]

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of those that were accepted."""
        return tuple(one for one in self.results if isinstance(one, Receipt))

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The others."""
        return tuple(one for one in self.results if isinstance(one, Refusal))


def policy_of(settings: Settings) -> Policy:
    """The ledger's limits as the settings have them."""
    return Policy(
        deadline_s=settings.deadline_s,
        lease_s=settings.lease_s,
        attempts_max=settings.max_attempts,
        result_ttl_s=settings.result_ttl_s,
        dead_letter_ttl_s=settings.dead_letter_ttl_s,
        idempotency_ttl_s=settings.idempotency_ttl_s,
    )


def ledger_url_of(settings: Settings) -> str:
    """The ledger's URL: the configured one, or that of the running embedded server.

    Raises:
        NoServerError: neither is there.
    """
    return settings.ledger_url() or url_of_running(settings.data_dir)


def _request(user_id: str, task_id: str, fields: Mapping[str, Any]) -> StopRequest:
    return StopRequest.parse({"user_id": user_id, "task_id": task_id, **fields})


def _parsed(requests: Iterable[StopRequest | Mapping[str, Any]]) -> list[StopRequest]:
    """All requests, or the error of the first bad one: a bad batch sends nothing."""
    parsed = []
    for index, request in enumerate(requests):
        try:
            parsed.append(
                request if isinstance(request, StopRequest) else StopRequest.parse(dict(request))
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(f"request {index}: {error}", field=error.field) from None
    return parsed


def _moment(at: datetime | None) -> int | None:
    if at is None:
        return None
    if at.tzinfo is None:
        raise InvalidRequestError("at: the time needs a zone", field="at")
    return to_microseconds(at)


def _target(user_id: str, task_id: str, sub_user_id: str | None) -> str:
    return _request(user_id, task_id, {"sub_user_id": sub_user_id}).target


class StopClient:
    """Accepts stop requests and tells what became of them. Safe to share between threads.

    Raises (every method):
        UnavailableError: Redis cannot be reached.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings.load()
        url = ledger_url_of(settings)
        self._policy = policy_of(settings)
        self._ledger = Ledger(connect(url))
        self._publisher = Publisher(settings, settings.queue_url(url))

    def stop(self, user_id: str, task_id: str, **fields: Unpack[StopFields]) -> Receipt:
        """Ask for a target to be stopped.

        Returns:
            The receipt; its `request_id` is the one to follow. Calling again with the same
            `request_id` or `idempotency_key` doubles nothing.

        Raises:
            InvalidRequestError: a field is wrong; nothing was accepted.
            IdempotencyConflictError: the key was used for another target.
            LedgerFullError: Redis is close to its maxmemory.
        """
        return self.stop_request(_request(user_id, task_id, fields))

    def stop_request(self, request: StopRequest) -> Receipt:
        """As `stop`, with a request that is already built."""
        return self._take(verbs.stop(self._policy, request))

    def stop_many(
        self,
        requests: Iterable[StopRequest | Mapping[str, Any]],
        *,
        batch_id: str | None = None,
    ) -> Submitted:
        """Ask for many targets to be stopped, as one batch.

        The same batch id with the same requests in the same order resumes what was interrupted
        and doubles nothing.

        Raises:
            InvalidRequestError: one of them is wrong; none was accepted.
        """
        batch_id = batch_id or new_request_id()
        verb = verbs.submit_many(self._policy, _parsed(requests), batch_id)
        return Submitted(batch_id, self._take(verb))

    def submit(self, submissions: Sequence[Submission]) -> tuple[Accepted, ...]:
        """Accept up to `MESSAGE_IDS_MAX` prepared submissions: for streams, as `bulk` is one."""
        return self._take(verbs.submit(self._policy, submissions))

    def outcome(self, request_id: str) -> Outcome | None:
        """The outcome of a request, or None while there is none."""
        return self._take(verbs.outcome(request_id))

    def wait(self, request_id: str, timeout_s: float | None = None) -> Outcome:
        """Wait for the outcome of a request.

        Raises:
            OutcomeTimeoutError: there was none in time; the request goes on.
        """
        outcome = self._take(verbs.wait(request_id, timeout_s))
        if outcome is None:
            raise _no_outcome(request_id, timeout_s)
        return outcome

    def status(self, request_id: str) -> Status:
        """Outcome or state of a request, with every attempt.

        Raises:
            UnknownRequestError: the ledger does not know it (any more).
        """
        return self._take(verbs.status(request_id))

    def batch(self, batch_id: str) -> Batch:
        """Progress and report of a batch; raises `UnknownRequestError`."""
        return self._take(verbs.batch(batch_id))

    def cancel(self, request_id: str, *, by: str = "unknown") -> CancelResult:
        """Cancel a request, for everybody who joined it."""
        return self._take(verbs.cancel(self._policy, [request_id], by))[request_id]

    def cancel_batch(self, batch_id: str, *, by: str = "unknown") -> dict[CancelResult, int]:
        """Cancel every request of a batch; raises `UnknownRequestError`."""
        return self._take(verbs.cancel_batch(self._policy, batch_id, by))

    def resumed(
        self,
        user_id: str,
        task_id: str,
        sub_user_id: str | None = None,
        *,
        at: datetime | None = None,
    ) -> ResumeResult:
        """Tell that a task was resumed (None: now): stops issued before are superseded."""
        target = _target(user_id, task_id, sub_user_id)
        return self._take(verbs.resumed(self._policy, target, _moment(at)))

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Every dead letter and quarantined message, the oldest first.

        Gather them before you redrive or discard some: that moves the places of the others.
        """
        first = 0
        while True:
            looked_at, letters = self._take(verbs.dead_page(first, _PAGE))
            if looked_at == 0:
                return
            yield from letters
            first += looked_at

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """One dead letter or quarantined message; raises `UnknownRequestError`."""
        return self._take(verbs.dead_letter(letter_id))

    def redrive(self, letters: Sequence[DeadLetter], *, by: str = "redrive") -> dict[str, Receipt]:
        """Send dead letters again as new requests; receipts by the id of the dead letter."""
        return self._take(verbs.redrive(self._policy, letters, by))

    def discard(self, letter_ids: Sequence[str]) -> dict[str, bool]:
        """Drop dead letters; whether each was one."""
        return self._take(verbs.discard(letter_ids))

    def close(self) -> None:
        """Close all connections."""
        self._publisher.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, verb: Generator[verbs.Step, Any, T]) -> T:
        result: Any = None
        while True:
            try:
                step = verb.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # the generator's own return type
            result = self._step(step)

    def _step(self, step: verbs.Step) -> Any:
        match step:
            case verbs.Run(command):
                return self._ledger.run(command)
            case verbs.Dispatch(lane, request_ids):
                return self._publisher.dispatch(lane, request_ids)
            case verbs.Republish(message):
                return self._publisher.republish(message)
            case verbs.Await(request_id, timeout_s):
                return self._await(request_id, timeout_s)
            case _:
                assert_never(step)

    def _await(self, request_id: str, timeout_s: float | None) -> Outcome | None:
        """Look whenever the results backend says that something happened, or a second is over."""
        look = queries.outcome(request_id)
        if found := self._ledger.run(look):
            return found
        end = None if timeout_s is None else time.monotonic() + timeout_s
        with translated(), self._ledger.client.pubsub() as channel:
            channel.subscribe(keys.result(request_id))
            while True:
                left = _LOOK_AGAIN_S if end is None else end - time.monotonic()
                if left <= 0:
                    return self._ledger.run(look)
                # The first message confirms the subscription: nothing is missed from then on.
                channel.get_message(timeout=min(left, _LOOK_AGAIN_S))
                if found := self._ledger.run(look):
                    return found


class AsyncStopClient:
    """`StopClient` for asyncio: the same verbs, with `await`. One per event loop."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings.load()
        url = ledger_url_of(settings)
        self._policy = policy_of(settings)
        self._ledger = AsyncLedger(connect_async(url))
        self._publisher = Publisher(settings, settings.queue_url(url))

    async def stop(self, user_id: str, task_id: str, **fields: Unpack[StopFields]) -> Receipt:
        """As `StopClient.stop`."""
        return await self.stop_request(_request(user_id, task_id, fields))

    async def stop_request(self, request: StopRequest) -> Receipt:
        """As `StopClient.stop_request`."""
        return await self._take(verbs.stop(self._policy, request))

    async def stop_many(
        self,
        requests: Iterable[StopRequest | Mapping[str, Any]],
        *,
        batch_id: str | None = None,
    ) -> Submitted:
        """As `StopClient.stop_many`."""
        batch_id = batch_id or new_request_id()
        verb = verbs.submit_many(self._policy, _parsed(requests), batch_id)
        return Submitted(batch_id, await self._take(verb))

    async def submit(self, submissions: Sequence[Submission]) -> tuple[Accepted, ...]:
        """As `StopClient.submit`."""
        return await self._take(verbs.submit(self._policy, submissions))

    async def outcome(self, request_id: str) -> Outcome | None:
        """As `StopClient.outcome`."""
        return await self._take(verbs.outcome(request_id))

    async def wait(self, request_id: str, timeout_s: float | None = None) -> Outcome:
        """As `StopClient.wait`."""
        outcome = await self._take(verbs.wait(request_id, timeout_s))
        if outcome is None:
            raise _no_outcome(request_id, timeout_s)
        return outcome

    async def status(self, request_id: str) -> Status:
        """As `StopClient.status`."""
        return await self._take(verbs.status(request_id))

    async def batch(self, batch_id: str) -> Batch:
        """As `StopClient.batch`."""
        return await self._take(verbs.batch(batch_id))

    async def cancel(self, request_id: str, *, by: str = "unknown") -> CancelResult:
        """As `StopClient.cancel`."""
        return (await self._take(verbs.cancel(self._policy, [request_id], by)))[request_id]

    async def cancel_batch(self, batch_id: str, *, by: str = "unknown") -> dict[CancelResult, int]:
        """As `StopClient.cancel_batch`."""
        return await self._take(verbs.cancel_batch(self._policy, batch_id, by))

    async def resumed(
        self,
        user_id: str,
        task_id: str,
        sub_user_id: str | None = None,
        *,
        at: datetime | None = None,
    ) -> ResumeResult:
        """As `StopClient.resumed`."""
        target = _target(user_id, task_id, sub_user_id)
        return await self._take(verbs.resumed(self._policy, target, _moment(at)))

    async def dead_letters(self) -> AsyncIterator[DeadLetter]:
        """As `StopClient.dead_letters`."""
        first = 0
        while True:
            looked_at, letters = await self._take(verbs.dead_page(first, _PAGE))
            if looked_at == 0:
                return
            for letter in letters:
                yield letter
            first += looked_at

    async def dead_letter(self, letter_id: str) -> DeadLetter:
        """As `StopClient.dead_letter`."""
        return await self._take(verbs.dead_letter(letter_id))

    async def redrive(
        self, letters: Sequence[DeadLetter], *, by: str = "redrive"
    ) -> dict[str, Receipt]:
        """As `StopClient.redrive`."""
        return await self._take(verbs.redrive(self._policy, letters, by))

    async def discard(self, letter_ids: Sequence[str]) -> dict[str, bool]:
        """As `StopClient.discard`."""
        return await self._take(verbs.discard(letter_ids))

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.to_thread(self._publisher.close)
        await self._ledger.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _take(self, verb: Generator[verbs.Step, Any, T]) -> T:
        result: Any = None
        while True:
            try:
                step = verb.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # the generator's own return type
            result = await self._step(step)

    async def _step(self, step: verbs.Step) -> Any:
        match step:
            case verbs.Run(command):
                return await self._ledger.run(command)
            case verbs.Dispatch(lane, request_ids):
                # Celery has no asyncio producer; a thread keeps the loop free.
                return await asyncio.to_thread(self._publisher.dispatch, lane, request_ids)
            case verbs.Republish(message):
                return await asyncio.to_thread(self._publisher.republish, message)
            case verbs.Await(request_id, timeout_s):
                return await self._await(request_id, timeout_s)
            case _:
                assert_never(step)

    async def _await(self, request_id: str, timeout_s: float | None) -> Outcome | None:
        look = queries.outcome(request_id)
        if found := await self._ledger.run(look):
            return found
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                return await self._watch(request_id)
        return await self._ledger.run(look)

    async def _watch(self, request_id: str) -> Outcome:
        # A timeout of Redis is an error here; that of the caller comes as a cancellation.
        with translated():
            async with self._ledger.client.pubsub() as channel:
                await channel.subscribe(keys.result(request_id))
                while True:
                    await channel.get_message(timeout=_LOOK_AGAIN_S)
                    if found := await self._ledger.run(queries.outcome(request_id)):
                        return found


def _no_outcome(request_id: str, timeout_s: float | None) -> OutcomeTimeoutError:
    return OutcomeTimeoutError(
        f"Request {request_id} has no outcome after {timeout_s:g} s; it goes on. Look again with "
        f"'stopline status {request_id}'."
    )
