"""`stopline.stop` messages: those that came together are accepted together.

A message is acknowledged when the ledger has its request, and not before: until then it is all
there is of it. One that the ledger cannot take now is held, and asked for again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from stopline.contract import REQUESTS_A_CALL, Refusal, RefusalKind, StopRequest
from stopline.errors import InvalidRequestError, StoplineError
from stopline.ledger import commands
from stopline.ledger.values import Submission
from stopline_worker.intake.stop_task import stop_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.commands import Replies
    from stopline.ledger.values import Accepted
    from stopline_worker.intake.acknowledging import Acknowledging
    from stopline_worker.intake.celery_view import CeleryView
    from stopline_worker.intake.deliveries import Delivery, Source
    from stopline_worker.intake.envelope import TaskMessage
    from stopline_worker.intake.handover import Handover
    from stopline_worker.intake.loop_timer import LoopTimer
    from stopline_worker.intake.refusing import Refusing
    from stopline_worker.process.runtime import Runtime

_log = logging.getLogger(__name__)
_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Gathered:
    """A message whose request is right, until the ledger has it."""

    delivery: Delivery
    message: TaskMessage
    request: StopRequest
    came_at: float = field(default_factory=time.monotonic)


class StopMessages:
    """Gathers them, and has the ledger accept what was gathered."""

    def __init__(  # what it works with, each a part of its own
        self,
        runtime: Runtime,
        refusing: Refusing,
        view: CeleryView,
        handover: Handover,
        acknowledging: Acknowledging,
        timer: LoopTimer,
    ) -> None:
        self._runtime = runtime
        self._refusing = refusing
        self._view = view
        self._handover = handover
        self._acknowledging = acknowledging
        self._timer = timer
        self._gathered: dict[_Gathered, None] = {}
        self._is_holding = self._is_retrying = False
        self._round_at_s: float | None = None

    @property
    def has_room(self) -> bool:
        """Whether the ledger takes what comes."""
        return not (self._is_holding or self._is_retrying)

    def add(self, delivery: Delivery, message: TaskMessage) -> None:
        """A message for the next flush, or for later, or for nobody."""
        if self._is_for_later(delivery, message):
            return
        self._view.received(message)
        kept_for_s = self._runtime.limits.result_ttl_s
        try:
            request = stop_request(message, delivery.queue, kept_for_s=kept_for_s)
        except InvalidRequestError as error:
            self._refusing.refuse(delivery, message, error)
        else:
            self._gathered[_Gathered(delivery, message, request)] = None

    def _is_for_later(self, delivery: Delivery, message: TaskMessage) -> bool:
        """Put it off until its time, by the ledger's clock: workers' clocks may be wrong."""
        if message.eta is None:
            return False
        now_s = self._ledgers_time()
        if now_s is None:
            self._acknowledging.put_off_a_moment(delivery)
            return True
        delay_s = message.eta.timestamp() - now_s
        if delay_s > 0:
            self._acknowledging.put_off(delivery, delay_s)
        return delay_s > 0

    def _ledgers_time(self) -> float | None:
        """Seconds since the epoch, asked once a round; None while the ledger is away."""
        if self._is_holding:
            return None
        if self._round_at_s is None:
            try:
                clock = self._runtime.ledger.run(commands.read_clock(self._runtime.limits))
            except StoplineError as error:
                self._hold(error)
                return None
            self._round_at_s = clock.now / 1_000_000
        return self._round_at_s

    def flush(self) -> None:
        """Have the ledger accept what was gathered, unless it could not a moment ago."""
        self._round_at_s = None
        while self._gathered and not self._is_holding:
            some = list(islice(self._gathered, REQUESTS_A_CALL))
            self._accept([one for one in some if not self._is_revoked(one)])

    def give_back_all(self) -> None:
        """The worker ends: another is to have what it holds."""
        for one in tuple(self._gathered):
            self._forget(one)
            self._acknowledging.give_back(one.delivery)

    def drop(self, source: Source, tag: Any = None) -> None:
        """It has taken its messages back, or this one."""
        for one in tuple(self._gathered):
            if one.delivery.source is source and tag in (None, one.delivery.tag):
                self._forget(one)

    # --- accepting ----------------------------------------------------------------------------

    def _is_revoked(self, one: _Gathered) -> bool:
        if not self._view.is_revoked(one.message.id):
            return False
        self._forget(one)
        self._refusing.revoke(one.delivery, one.message)
        return True

    def _accept(self, some: Sequence[_Gathered]) -> None:
        if not some:
            return
        try:
            replies = self._ask(some)
        except InvalidRequestError as error:
            self._single_out(some, error)
        except StoplineError as error:
            self._hold(error)
        except Exception as error:  # noqa: BLE001  # whatever it is: the others must not wait for it
            self._single_out(some, error)
        else:
            for one, reply in zip(some, replies, strict=True):
                self._take(one, reply)

    def _ask(self, some: Sequence[_Gathered]) -> Replies:
        submissions = [Submission(one.request, alias=True) for one in some]
        command = commands.accept(self._runtime.limits, submissions, expire_late=True, tells=False)
        return self._runtime.ledger.run(command)

    def _single_out(self, some: Sequence[_Gathered], error: Exception) -> None:
        """One of them is more than the ledger can take: ask for each alone."""
        if len(some) > 1:
            for one in some:
                if not self._is_holding:
                    self._accept([one])
            return
        _log.error("request not accepted: %r", error, extra={"action": "accept_failed"})
        self._forget(some[0])
        self._refusing.refuse(some[0].delivery, some[0].message, error)

    def _take(self, one: _Gathered, reply: Accepted | Refusal) -> None:
        if isinstance(reply, Refusal):
            if reply.kind is RefusalKind.MEMORY:
                self._hold(reply.as_error())
                return
            if reply.kind is RefusalKind.REVOKED:  # by a worker that has ended meanwhile
                self._forget(one)
                self._refusing.revoke(one.delivery, one.message)
                return
            self._forget(one)
            self._refusing.refuse(one.delivery, one.message, reply.as_error())
            return
        self._forget(one)
        if reply.dispatch:
            self._handover.add([reply.receipt.request_id])
        self._acknowledging.add(one.delivery)
        self._view.succeeded(one.message, one.came_at)

    def _forget(self, one: _Gathered) -> None:
        del self._gathered[one]
        self._view.release(one.message)

    # --- a ledger that takes nothing ----------------------------------------------------------

    def _hold(self, error: Exception) -> None:
        for one in self._gathered:
            self._view.hold(one.message, one.delivery.queue)
        if not self._is_holding:
            self._is_holding = True
            _log.warning(
                "requests held until the ledger takes them: %s",
                error,
                extra={"action": "stop_held", "requests": len(self._gathered)},
            )
            self._timer.after(_AGAIN_S, self._again)

    def _again(self) -> None:
        # It may take seconds: the watchdog must not think meanwhile that there is no reason.
        self._is_retrying, self._is_holding = True, False
        try:
            self.flush()
        finally:
            self._is_retrying = False
        self._refusing.flush()
        self._handover.flush()
        self._acknowledging.flush()
