"""The world of a test: a ledger in memory, an API that answers as scripted, and a virtual clock."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import fakeredis

from stopline.contract import (
    MESSAGE_IDS_MAX,
    DeadMessage,
    Lane,
    Outcome,
    OutcomeKind,
    StopRequest,
    Target,
    Verdict,
    from_microseconds,
    to_microseconds,
)
from stopline.errors import LedgerFullError, StoplineError, UnavailableError
from stopline.ledger import Ledger, commands, queries, scripts
from stopline.ledger.limits import Limits
from stopline.ledger.values import Cause, Ended, Record, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from stopline.ledger.values import Command, Grant, Settlement

T = TypeVar("T")

_CLOCK: Final = "testing:clock"
_READS_TIME: Final = "redis.call('TIME')"
_READS_CLOCK: Final = (
    f"(function() local at = redis.call('GET', '{_CLOCK}') "
    "return {string.sub(at, 1, -7), string.sub(at, -6)} end)()"
)
_US: Final = 1_000_000
_TAKES_IN: Final = frozenset({"accept", "redrive"})
_AT_ONCE: Final = MESSAGE_IDS_MAX
_BACKOFF_BASE_S, _BACKOFF_CAP_S = 0.5, 60.0
"""The worker waits before another attempt as long as a real one does at most, which draws lots."""


class Answer(Enum):
    """What the API says to a call."""

    STOPPED = "stopped"
    """The stop is confirmed."""
    REJECTED = "rejected"
    """A reply that is final, as HTTP 400 is one."""
    NOT_FOUND = "not_found"
    """There is no such task."""
    UNCLEAR = "unclear"
    """A reply that settles nothing: another attempt follows, up to MAX_ATTEMPTS."""
    AWAY = "away"
    """No reply, or 5xx: another attempt follows until the deadline."""


class Call(NamedTuple):
    """A call that the worker made, and when."""

    target: Target
    at: datetime
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What an answer makes of an attempt: an outcome, or the cause of another attempt."""

    record: Record
    outcome: OutcomeKind | None = None
    detail: str = ""
    cause: Cause = Cause.ANSWERED


_MEANINGS: Final = {
    Answer.STOPPED: _Meaning(
        Record(Verdict.STOPPED, 1.0, http_status=200, code=200),
        OutcomeKind.STOPPED,
        "The API confirmed the stop.",
    ),
    Answer.REJECTED: _Meaning(
        Record(Verdict.REJECTED, 1.0, http_status=400),
        OutcomeKind.REJECTED,
        "The API rejected the call (HTTP 400).",
    ),
    Answer.NOT_FOUND: _Meaning(
        Record(Verdict.NOT_FOUND, 1.0, http_status=404),
        OutcomeKind.NOT_FOUND,
        "The API knows no such task (HTTP 404).",
    ),
    Answer.UNCLEAR: _Meaning(
        Record(Verdict.RETRY, 1.0, http_status=200, error="body: it is no JSON"),
        cause=Cause.ANSWERED,
    ),
    Answer.AWAY: _Meaning(
        Record(Verdict.RETRY, 1.0, error="connect: Connection refused"), cause=Cause.FAILED
    ),
}


class World:
    """A ledger, an API, a worker and a clock, all in this process.

    Clients that share a world see the same requests.

    Args:
        limits: those that the ledger works by; the defaults of the settings if left out.
        now: the time at which it begins; the real one if left out.
    """

    def __init__(self, limits: Limits | None = None, *, now: datetime | None = None) -> None:
        self.limits = limits or Limits()
        self.calls: list[Call] = []
        """Every call that the worker made, in order."""
        self.republished: list[DeadMessage] = []
        """Quarantined messages that were sent again."""
        self.server = fakeredis.FakeServer()
        self.ledger: Ledger = _WorldsLedger(self)
        self._answers: defaultdict[Target, deque[Answer]] = defaultdict(deque)
        self._always: dict[Target, Answer] = {}
        self._claims = 0
        self._messages: deque[str] = deque()
        self._due_us: int | None = None
        self._trouble: StoplineError | None = None
        self._now_us = to_microseconds(now) if now else time.time_ns() // 1000
        self._write_clock()

    # --- time ---------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time, which passes only by `advance` and by a microsecond with each step."""
        return from_microseconds(self._now_us)

    def advance(self, seconds: float) -> int:
        """Let time pass, with a worker that does what is due meanwhile; how many calls it made."""
        end_us, made = self._now_us + round(seconds * _US), self.work()
        while self._due_us is not None and self._due_us <= end_us:
            self._now_us = max(self._now_us, self._due_us)
            self._write_clock()
            made += self.work()
        self._now_us = max(self._now_us, end_us)
        self._write_clock()
        return made

    def step(self, command: Command[T]) -> None:
        """Before each command: two steps of a ledger never happen in one microsecond.

        Raises:
            StoplineError: as `redis_is_away` and `redis_is_full` have it.
        """
        is_full = isinstance(self._trouble, LedgerFullError)
        if self._trouble is not None and (command.name in _TAKES_IN or not is_full):
            raise self._trouble
        self._now_us += 1
        self._write_clock()

    def _write_clock(self) -> None:
        self.ledger.client.set(_CLOCK, self._now_us)

    # --- API ----------------------------------------------------------------------------------

    def redis_is_away(self) -> AbstractContextManager[None]:
        """Everything that clients ask meanwhile raises `UnavailableError`."""
        return self._in_trouble(
            UnavailableError("The ledger cannot be reached: the test has it so.")
        )

    def redis_is_full(self) -> AbstractContextManager[None]:
        """What clients ask to be stopped meanwhile raises `LedgerFullError`."""
        return self._in_trouble(
            LedgerFullError("Redis is close to its maxmemory: the test has it so.")
        )

    @contextmanager
    def _in_trouble(self, error: StoplineError) -> Iterator[None]:
        before, self._trouble = self._trouble, error
        try:
            yield
        finally:
            self._trouble = before

    def answer(
        self,
        user_id: str,
        task_id: str,
        *answers: Answer,
        sub_user_id: str | None = None,
        always: Answer = Answer.STOPPED,
    ) -> None:
        """Script what the API says to the next calls for a target, and what it says after them.

        Raises:
            InvalidRequestError: there can be no such target.
            ValueError: an answer is none.
        """
        fields = {"user_id": user_id, "task_id": task_id, "sub_user_id": sub_user_id}
        target = StopRequest.parse(fields).target
        self._answers[target] = deque(Answer(one) for one in answers)
        self._always[target] = Answer(always)

    @property
    def stopped(self) -> list[Target]:
        """The targets of the calls that were confirmed, in order."""
        return [call.target for call in self.calls if call.answer is Answer.STOPPED]

    def _call(self, target: Target) -> Answer:
        scripted = self._answers[target]
        answer = scripted.popleft() if scripted else self._always.get(target, Answer.STOPPED)
        self.calls.append(Call(target, self.now, answer))
        return answer

    # --- worker -------------------------------------------------------------------------------

    def work(self) -> int:
        """Do what there is to do now, as a worker of all lanes would; how many calls it made."""
        made = 0
        while grants := self._claim():
            settled = self.run(commands.settle(self.limits, [self._attempt(one) for one in grants]))
            self._messages += [one.request_id for one in settled.promoted]
            made += len(grants)
        return made

    @contextmanager
    def calls_in_flight(self) -> Iterator[list[Target]]:
        """Begin the calls that there are to make now, and end them when the block does.

        Meanwhile what is cancelled or resumed is told that a call is in flight.
        """
        grants = self._claim()
        yield [one.target for one in grants]
        settled = self.run(commands.settle(self.limits, [self._attempt(one) for one in grants]))
        self._messages += [one.request_id for one in settled.promoted]

    def dispatch(self, request_ids: Iterable[str]) -> None:
        """Tell the worker of requests, as a message does."""
        self._messages += request_ids

    def _claim(self) -> tuple[Grant, ...]:
        """Claim what messages name, and then what is due without one."""
        while self._messages:
            ids = [self._messages.popleft() for _ in range(min(len(self._messages), _AT_ONCE))]
            claimed = self.run(commands.claim(self.limits, ids, self._token()))
            if claimed.grants:
                return claimed.grants
        sweep = commands.claim_due(self.limits, tuple(Lane), self._token(), limit=_AT_ONCE)
        claimed = self.run(sweep)
        self._due_us = claimed.next_due
        return claimed.grants

    def _token(self) -> str:
        self._claims += 1
        return f"testing:{self._claims}"

    def _attempt(self, grant: Grant) -> Settlement:
        meaning = _MEANINGS[self._call(grant.target)]
        lease = (grant.request_id, grant.token)
        if meaning.outcome is not None:
            return Ended(*lease, meaning.record, meaning.outcome, meaning.detail)
        delay_s = min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2 ** min(grant.attempt - 1, 10))
        return Retry(*lease, meaning.record, meaning.cause, round(delay_s * _US))

    # --- ledger -------------------------------------------------------------------------------

    def run(self, command: Command[T]) -> T:
        """Run a ledger command."""
        return self.ledger.run(command)

    def wait(self, request_id: str, timeout_s: float | None) -> Outcome | queries.Progress:
        """Let time pass until a request has its outcome, or the timeout is over; see `advance`."""
        limit_s = math.inf if timeout_s is None else timeout_s
        end_us = None if limit_s == math.inf else self._now_us + round(limit_s * _US)
        if limit_s > 0:
            self.work()
        while (found := self.run(queries.progress(request_id))) is queries.Progress.OPEN:
            if end_us is not None and self._now_us >= end_us:
                break
            # Without a timeout it ends all the same: every request has a deadline.
            stops = [at for at in (self._due_us, end_us) if at is not None]
            self.advance(max(1, min(stops) - self._now_us) / _US)
        return found


class _WorldsLedger(Ledger):
    """A ledger in memory, whose clock is its world's."""

    def __init__(self, world: World) -> None:
        super().__init__(fakeredis.FakeRedis(server=world.server), source=source)
        self._world = world

    def run(self, command: Command[T]) -> T:
        self._world.step(command)
        return super().run(command)


def source(name: str) -> str:
    """A script as fakeredis takes it, with the clock of a world."""
    return scripts.source(name, flags=False).replace(_READS_TIME, _READS_CLOCK)
