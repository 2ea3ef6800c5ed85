"""`StopClient`: the way in for producers, the command line, and whatever comes later."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, assert_never

from stopline import telemetry
from stopline.client import verbs
from stopline.client.areas import Areas
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
from stopline.client.sync_gathering import Gathering
from stopline.client.sync_listener import Listener
from stopline.contract import from_microseconds, to_microseconds
from stopline.dispatch.publisher import Publisher
from stopline.ledger import Ledger, queries
from stopline.ledger.stream import Stream
from stopline.servers.connecting import connect
from stopline.settings.model import Settings
from stopline.wiring import ledger_server_of, limits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from stopline.client.ports import Messages, Waiting
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
    from stopline.ledger.values import Submission

T = TypeVar("T")


class StopClient(Areas):
    """Accepts stop requests and tells what became of them.

    Safe to share between threads; after `os.fork()`, as under `gunicorn --preload`, each process
    goes on with connections of its own.

    Raises (every method):
        UnavailableError: Redis cannot be reached.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings.load()
        server = ledger_server_of(settings)
        self._limits = limits_of(settings)
        self._ledger = Ledger(connect(server))  # redis-py notices a fork by itself
        self._listener: Waiting = Listener(self._ledger, server)
        self._publisher: Messages = Publisher(settings, settings.queue_url(server.url))
        self._gathering = Gathering(self._submit)

    def stop(self, user_id: str, task_id: str, **fields: Unpack[StopFields]) -> Receipt:
        """Ask for a target to be stopped.

        Args:
            user_id: the user that owns the task.
            task_id: the upstream task (never a Celery task).
            **fields: any of
                sub_user_id: the sub-user, where the target has one;
                lane: `emergency`, `default` or `bulk`: how urgent it is;
                source: who asks, at most 200 characters;
                reason: why, at most 500 characters;
                issued_at: when the event behind it happened, if that was before now: what was
                    resumed or stopped since is left alone. A time with a zone, or RFC 3339;
                not_after: when it is too late to call; by default STOPLINE_DEADLINE_S from now;
                idempotency_key: the same key for the same target is accepted once
                    (STOPLINE_IDEMPOTENCY_TTL_S);
                batch_id: a batch to count it in;
                callback_url: where the outcome is told, too (docs/outcomes.md);
                request_id: an id of your own, to ask again with after a lost reply.

        Returns:
            The receipt; its `request_id` is the one to follow. Calling again with the same
            `request_id` or `idempotency_key` doubles nothing.

        Raises:
            InvalidRequestError: a field is wrong; nothing was accepted.
            IdempotencyConflictError: the key was used for another target.
            LedgerFullError: Redis is close to its maxmemory.
        """
        return self.stop_request(request_of(user_id, task_id, fields))

    def stop_request(self, request: StopRequest, *, actor: Actor | None = None) -> Receipt:
        """As `stop`, with a request that is already built.

        Args:
            request: the request.
            actor: who is to stand in the audit trail for it; None: nobody. Every verb that changes
                something takes one.
        """
        with telemetry.sending(request) as sent:
            return self._gathering.stop(verbs.submission(sent, actor))

    def _submit(self, submissions: Sequence[Submission]) -> Replies:
        return self._take(verbs.submit(self._limits, submissions))

    def stop_many(
        self,
        requests: Iterable[StopRequest | Mapping[str, Any]],
        *,
        batch_id: str | None = None,
        head: BatchHead | None = None,
    ) -> Submitted:
        """Ask for many targets to be stopped, as one batch.

        The same batch id with the same requests in the same order resumes what was interrupted
        and doubles nothing. `head` says what the batch is, for people.

        Raises:
            InvalidRequestError: one of them is wrong; none was accepted.
        """
        batch_id = batch_id_of(batch_id)
        verb = verbs.submit_many(self._limits, requests_of(requests), batch_id)
        if head is not None:
            self.batches.open(batch_id, head)
        with telemetry.sending_many():
            return Submitted(batch_id, self._take(verb))

    def submit_all(
        self, items: Iterable[T], make: Callable[[T], Submission], take: verbs.Take[T]
    ) -> None:
        """Accept a stream of requests, as `bulk` is one: see `verbs.submit_all`."""
        self._take(verbs.submit_all(self._limits, items, make, take))

    def submit_each(self, requests: Iterable[StopRequest]) -> tuple[Receipt | Refusal, ...]:
        """Ask for many targets to be stopped, each for itself; what became of each, in order.

        Raises:
            LedgerFullError: Redis is close to its maxmemory; those before it are accepted.
        """
        with telemetry.sending_many():
            return self._take(verbs.submit_each(self._limits, requests))

    def outcome(self, request_id: str) -> Outcome | None:
        """The outcome of a request, or None while there is none."""
        return self._take(verbs.outcome(request_id))

    def wait(self, request_id: str, timeout_s: float | None = None) -> Outcome:
        """Wait for the outcome of a request.

        Raises:
            OutcomeTimeoutError: there was none in time; the request goes on.
            UnknownRequestError: the ledger knows no such request, or forgot it meanwhile.
        """
        outcome = self._take(verbs.wait(request_id, timeout_s))
        if outcome is None:
            raise no_outcome(request_id, timeout_s)
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

    def cancel(
        self,
        request_id: str,
        *,
        by: str = "unknown",
        only_source: str | None = None,
        actor: Actor | None = None,
    ) -> CancelResult:
        """Cancel a request, for everybody who joined it; `only_source`: if it alone asked."""
        verb = verbs.cancel(self._limits, [request_id], by, only_source=only_source, actor=actor)
        return self._take(verb)[request_id]

    def cancel_each(
        self, request_ids: Sequence[str], *, by: str = "unknown", actor: Actor | None = None
    ) -> dict[str, CancelResult]:
        """Cancel many requests; what came of each, by its id."""
        return self._take(verbs.cancel(self._limits, request_ids, by, actor=actor))

    def cancel_batch(
        self, batch_id: str, *, by: str = "unknown", actor: Actor | None = None
    ) -> dict[CancelResult, int]:
        """Cancel every request of a batch; raises `UnknownRequestError`."""
        return self._take(verbs.cancel_batch(self._limits, batch_id, by, actor))

    def resumed(
        self,
        user_id: str,
        task_id: str,
        sub_user_id: str | None = None,
        *,
        at: datetime | None = None,
        actor: Actor | None = None,
    ) -> ResumeResult:
        """Tell that a task was resumed (None: now): stops issued before are superseded.

        Raises:
            InvalidRequestError: `at` is more than five minutes ahead of the server's clock.
        """
        target = target_of(user_id, task_id, sub_user_id)
        return self._take(verbs.resumed(self._limits, target, moment_of(at, "at"), actor))

    def now(self) -> datetime:
        """The ledger's time."""
        return from_microseconds(self._take(verbs.now(self._limits)))

    def dead_letters(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = False,
    ) -> Iterator[DeadLetter]:
        """Every dead letter and quarantined message, a page at a time.

        They may be sent again or dropped meanwhile; what dies meanwhile is not among them.

        Args:
            since: only those that died from then on.
            until: only those that died until then; now if left out.
            newest_first: from the newest to the oldest.
        """
        last = to_microseconds(self.now()) if until is None else moment_of(until, "until")
        place = queries.DeadPlace(moment_of(since, "since"), last, newest_first)
        while not place.is_end:
            place, letters = self._take(verbs.dead_page(place))
            yield from letters

    def dead_count(self, *, until: datetime | None = None) -> int:
        """How many dead letters and quarantined messages there are (that died until then)."""
        last = self.now() if until is None else until
        return self._take(verbs.dead_count(to_microseconds(last)))

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """One dead letter or quarantined message; raises `UnknownRequestError`."""
        return self._take(verbs.dead_letter(letter_id))

    def redrive(
        self, letters: Sequence[DeadLetter], *, by: str = "redrive", actor: Actor | None = None
    ) -> dict[str, Receipt]:
        """Send dead letters again as new requests; receipts by the id of the dead letter."""
        return self._take(verbs.redrive(self._limits, letters, by, actor=actor))

    def heartbeats(self) -> Heartbeats:
        """Every worker process that was heard of lately."""
        return self._take(verbs.heartbeats(self._limits))

    def discard(self, letter_ids: Sequence[str], *, actor: Actor | None = None) -> dict[str, bool]:
        """Drop dead letters; whether each was one."""
        return self._take(verbs.discard(self._limits, letter_ids, actor))

    def outcomes(
        self, after: str, *, count: int = 250, block_s: float | None = None
    ) -> OutcomePage:
        """Outcomes in the order in which they came, where STOPLINE_OUTCOMES keeps them.

        Args:
            after: the place of the last one that is known; `last_outcome()`, or `0-0` for all.
            count: at most so many.
            block_s: where there are none, wait so long for the first (less than 5); None: do not.
        """
        return self._take(verbs.outcomes(after, count, block_s))

    def last_outcome(self) -> str:
        """The place of the outcome that came last; `0-0` where there is none."""
        return self._take(verbs.last_outcome())

    def audit_trail(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = True,
    ) -> Iterator[AuditEntry]:
        """Who changed what through a service, a page at a time."""
        place = audit_place(since, until, newest_first=newest_first)
        while not place.is_end:
            place, entries = self._take(verbs.audit_page(place))
            yield from entries

    def note(self, action: AuditAction, actor: Actor, **about: Any) -> None:
        """Put into the audit trail what no other verb says there: see `AuditEntry`."""
        self._take(verbs.note(self._limits, action, actor, about))

    def count(self, name: str, times: int = 1) -> None:
        """Count something that leaves no record of its own, for the whole deployment."""
        self._take(verbs.count(name, times))

    def counts(self) -> dict[str, int]:
        """What was counted so, by name."""
        return self._take(verbs.counts())

    def spend(self, name: str, rate: Rate, wanted: int = 1) -> Spent:
        """Take some of what a name may do, at a rate that all who ask for that name share."""
        return self._take(verbs.spend(self._limits, name, rate, wanted))

    def beat(self, said: Beat) -> None:
        """Say that a process of yours lives, as `stopline health` shows it."""
        self._take(verbs.beat(self._limits, said))

    def leave(self, process_id: str) -> None:
        """Say that it has ended, on purpose."""
        self._take(verbs.leave(process_id))

    def quarantine(self, junk: Junk) -> None:
        """Keep a message that nobody can handle: see `junk_of`."""
        self._take(verbs.quarantine(self._limits, junk))

    def close(self) -> None:
        """Close all connections."""
        try:
            self._listener.close()
        finally:
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
        with closing(Stream(self._ledger)) as stream:
            while True:
                try:
                    step = verb.send(result)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # the generator's own return type
                result = self._step(step, stream)

    def _step(self, step: verbs.Step, stream: Stream) -> Any:
        match step:
            case verbs.Run(command):
                return self._ledger.run(command)
            case verbs.Begin(command):
                return stream.begin(command)
            case verbs.Finish(begun):
                return stream.finish(begun)
            case verbs.Dispatch(lane, request_ids):
                return self._publisher.dispatch(lane, request_ids)
            case verbs.Republish(message):
                return self._publisher.republish(message)
            case verbs.Await(request_id, timeout_s):
                return outcome_of(self._listener.wait(request_id, timeout_s))
            case _:
                assert_never(step)
