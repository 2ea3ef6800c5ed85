"""`AsyncStopClient`: the verbs of `StopClient`, for asyncio."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack, assert_never

from stopline import telemetry
from stopline.client import verbs
from stopline.client.areas import AsyncAreas
from stopline.client.arguments import (
    StopFields,
    Submitted,
    audit_place,
    batch_id_of,
    moment_of,
    no_outcome,
    outcome_of,
    request_of,
    requests_of,
    target_of,
)
from stopline.client.async_gathering import AsyncGathering
from stopline.client.async_listener import AsyncListener
from stopline.contract import from_microseconds, to_microseconds
from stopline.dispatch.publisher import AsyncPublisher
from stopline.ledger import AsyncLedger, queries
from stopline.servers.connecting import connect_async
from stopline.settings.model import Settings
from stopline.wiring import ledger_server_of, limits_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from stopline.client.ports import AsyncMessages, AsyncWaiting
    from stopline.client.verbs import Heartbeats, OutcomePage
    from stopline.contract import (
        Actor,
        AuditAction,
        AuditEntry,
        Batch,
        BatchHead,
        Beat,
        CancelResult,
        DeadLetter,
        Junk,
        Outcome,
        Rate,
        Receipt,
        Refusal,
        ResumeResult,
        Spent,
        Status,
        StopRequest,
    )
    from stopline.ledger.commands import Replies
    from stopline.ledger.values import Command, Submission
    from stopline.servers.redis_server import RedisServer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wire:
    """What an asyncio client talks through, in one process."""

    pid: int
    ledger: AsyncLedger
    listener: AsyncWaiting
    publisher: AsyncMessages

    @classmethod
    def to(cls, server: RedisServer, settings: Settings) -> Self:
        """One to a ledger's server; it connects when it is first used."""
        ledger = AsyncLedger(connect_async(server))
        publisher = AsyncPublisher(settings, settings.queue_url(server.url))
        return cls(os.getpid(), ledger, AsyncListener(ledger), publisher)

    async def close(self) -> None:
        """Close all connections."""
        await self.listener.close()
        await self.publisher.close()
        await self.ledger.close()


_left_to_parents: Final[list[Wire]] = []
"""What a child got from its parent: kept, since who collects a connection closes it."""


class AsyncStopClient(AsyncAreas):
    """`StopClient` for asyncio: the same verbs, with `await`. One per event loop.

    It looks for its Redis when it is first asked for something: `NoServerError` comes then. After
    `os.fork()` each process goes on with connections, and an event loop, of its own.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings.load()
        self._limits = limits_of(self._settings)
        self._made: Wire | None = None
        self._gathering: AsyncGathering | None = None

    async def _wire(self) -> Wire:
        if self._made is not None and self._made.pid != os.getpid():
            # redis-py's asyncio pool does not notice: the child would read its parent's replies.
            _left_to_parents.append(self._made)
            self._made = None
        if self._made is None:
            # It reads files, and may look whether an embedded server runs: not on this loop.
            server = await asyncio.to_thread(ledger_server_of, self._settings)
            # Another task may have been here meanwhile.
            self._made = self._made or Wire.to(server, self._settings)
        return self._made

    async def stop(self, user_id: str, task_id: str, **fields: Unpack[StopFields]) -> Receipt:
        """As `StopClient.stop`."""
        return await self.stop_request(request_of(user_id, task_id, fields))

    async def stop_request(self, request: StopRequest, *, actor: Actor | None = None) -> Receipt:
        """As `StopClient.stop_request`."""
        if self._gathering is None or self._gathering.pid != os.getpid():
            self._gathering = AsyncGathering(self._submit)
        with telemetry.sending(request) as sent:
            return await self._gathering.stop(verbs.submission(sent, actor))

    async def _submit(self, submissions: Sequence[Submission]) -> Replies:
        return await self._take(verbs.submit(self._limits, submissions))

    async def stop_many(
        self,
        requests: Iterable[StopRequest | Mapping[str, Any]],
        *,
        batch_id: str | None = None,
        head: BatchHead | None = None,
    ) -> Submitted:
        """As `StopClient.stop_many`."""
        batch_id = batch_id_of(batch_id)
        verb = verbs.submit_many(self._limits, requests_of(requests), batch_id)
        if head is not None:
            await self.batches.open(batch_id, head)
        with telemetry.sending_many():
            return Submitted(batch_id, await self._take(verb))

    async def submit_all(
        self, items: Iterable[T], make: Callable[[T], Submission], take: verbs.Take[T]
    ) -> None:
        """As `StopClient.submit_all`."""
        await self._take(verbs.submit_all(self._limits, items, make, take))

    async def submit_each(self, requests: Iterable[StopRequest]) -> tuple[Receipt | Refusal, ...]:
        """As `StopClient.submit_each`."""
        with telemetry.sending_many():
            return await self._take(verbs.submit_each(self._limits, requests))

    async def outcome(self, request_id: str) -> Outcome | None:
        """As `StopClient.outcome`."""
        return await self._take(verbs.outcome(request_id))

    async def wait(self, request_id: str, timeout_s: float | None = None) -> Outcome:
        """As `StopClient.wait`."""
        outcome = await self._take(verbs.wait(request_id, timeout_s))
        if outcome is None:
            raise no_outcome(request_id, timeout_s)
        return outcome

    async def status(self, request_id: str) -> Status:
        """As `StopClient.status`."""
        return await self._take(verbs.status(request_id))

    async def batch(self, batch_id: str) -> Batch:
        """As `StopClient.batch`."""
        return await self._take(verbs.batch(batch_id))

    async def cancel(
        self,
        request_id: str,
        *,
        by: str = "unknown",
        only_source: str | None = None,
        actor: Actor | None = None,
    ) -> CancelResult:
        """As `StopClient.cancel`."""
        verb = verbs.cancel(self._limits, [request_id], by, only_source=only_source, actor=actor)
        return (await self._take(verb))[request_id]

    async def cancel_each(
        self, request_ids: Sequence[str], *, by: str = "unknown", actor: Actor | None = None
    ) -> dict[str, CancelResult]:
        """As `StopClient.cancel_each`."""
        return await self._take(verbs.cancel(self._limits, request_ids, by, actor=actor))

    async def cancel_batch(
        self, batch_id: str, *, by: str = "unknown", actor: Actor | None = None
    ) -> dict[CancelResult, int]:
        """As `StopClient.cancel_batch`."""
        return await self._take(verbs.cancel_batch(self._limits, batch_id, by, actor))

    async def resumed(
        self,
        user_id: str,
        task_id: str,
        sub_user_id: str | None = None,
        *,
        at: datetime | None = None,
        actor: Actor | None = None,
    ) -> ResumeResult:
        """As `StopClient.resumed`."""
        target = target_of(user_id, task_id, sub_user_id)
        moment = moment_of(at, "at")
        return await self._take(verbs.resumed(self._limits, target, moment, actor))

    async def now(self) -> datetime:
        """As `StopClient.now`."""
        return from_microseconds(await self._take(verbs.now(self._limits)))

    async def dead_letters(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = False,
    ) -> AsyncIterator[DeadLetter]:
        """As `StopClient.dead_letters`."""
        last = to_microseconds(await self.now()) if until is None else moment_of(until, "until")
        place = queries.DeadPlace(moment_of(since, "since"), last, newest_first)
        while not place.is_end:
            place, letters = await self._take(verbs.dead_page(place))
            for letter in letters:
                yield letter

    async def dead_count(self, *, until: datetime | None = None) -> int:
        """As `StopClient.dead_count`."""
        last = await self.now() if until is None else until
        return await self._take(verbs.dead_count(to_microseconds(last)))

    async def dead_letter(self, letter_id: str) -> DeadLetter:
        """As `StopClient.dead_letter`."""
        return await self._take(verbs.dead_letter(letter_id))

    async def redrive(
        self, letters: Sequence[DeadLetter], *, by: str = "redrive", actor: Actor | None = None
    ) -> dict[str, Receipt]:
        """As `StopClient.redrive`."""
        return await self._take(verbs.redrive(self._limits, letters, by, actor=actor))

    async def heartbeats(self) -> Heartbeats:
        """As `StopClient.heartbeats`."""
        return await self._take(verbs.heartbeats(self._limits))

    async def discard(
        self, letter_ids: Sequence[str], *, actor: Actor | None = None
    ) -> dict[str, bool]:
        """As `StopClient.discard`."""
        return await self._take(verbs.discard(self._limits, letter_ids, actor))

    async def outcomes(
        self, after: str, *, count: int = 250, block_s: float | None = None
    ) -> OutcomePage:
        """As `StopClient.outcomes`."""
        return await self._take(verbs.outcomes(after, count, block_s))

    async def last_outcome(self) -> str:
        """As `StopClient.last_outcome`."""
        return await self._take(verbs.last_outcome())

    async def audit_trail(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = True,
    ) -> AsyncIterator[AuditEntry]:
        """As `StopClient.audit_trail`."""
        place = audit_place(since, until, newest_first=newest_first)
        while not place.is_end:
            place, entries = await self._take(verbs.audit_page(place))
            for entry in entries:
                yield entry

    async def note(self, action: AuditAction, actor: Actor, **about: Any) -> None:
        """As `StopClient.note`."""
        await self._take(verbs.note(self._limits, action, actor, about))

    async def count(self, name: str, times: int = 1) -> None:
        """As `StopClient.count`."""
        await self._take(verbs.count(name, times))

    async def counts(self) -> dict[str, int]:
        """As `StopClient.counts`."""
        return await self._take(verbs.counts())

    async def spend(self, name: str, rate: Rate, wanted: int = 1) -> Spent:
        """As `StopClient.spend`."""
        return await self._take(verbs.spend(self._limits, name, rate, wanted))

    async def beat(self, said: Beat) -> None:
        """As `StopClient.beat`."""
        await self._take(verbs.beat(self._limits, said))

    async def leave(self, process_id: str) -> None:
        """As `StopClient.leave`."""
        await self._take(verbs.leave(process_id))

    async def quarantine(self, junk: Junk) -> None:
        """As `StopClient.quarantine`."""
        await self._take(verbs.quarantine(self._limits, junk))

    async def close(self) -> None:
        """Close all connections, when what was sent has its receipts."""
        if self._gathering is not None and self._gathering.pid == os.getpid():
            await self._gathering.close()
        if self._made is not None and self._made.pid == os.getpid():
            made, self._made = self._made, None
            await made.close()

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
        wire = await self._wire()
        begun: list[asyncio.Task[Any]] = []
        try:
            while True:
                try:
                    step = verb.send(result)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # the generator's own return type
                result = await _step(wire, step, begun)
        finally:
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)


async def _step(wire: Wire, step: verbs.Step, begun: list[asyncio.Task[Any]]) -> Any:
    match step:
        case verbs.Run(command):
            return await wire.ledger.run(command)
        case verbs.Begin(command):
            earlier = begun[-1] if begun else None
            begun[:] = [task for task in begun if not task.done()]
            begun.append(asyncio.create_task(_run_after(wire, earlier, command)))
            return begun[-1]
        case verbs.Finish(task):
            return await task
        case verbs.Dispatch(lane, request_ids):
            return await wire.publisher.dispatch(lane, request_ids)
        case verbs.Republish(message):
            return await wire.publisher.republish(message)
        case verbs.Await(request_id, timeout_s):
            return outcome_of(await wire.listener.wait(request_id, timeout_s))
        case _:
            assert_never(step)


async def _run_after(wire: Wire, earlier: asyncio.Task[Any] | None, command: Command[Any]) -> Any:
    if earlier is not None:
        await asyncio.wait([earlier])
    return await wire.ledger.run(command)
