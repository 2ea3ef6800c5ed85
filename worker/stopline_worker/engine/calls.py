"""The requests that an engine holds, and the callers that make their calls.

    begin ─ ready ─ a caller: attempt ─ settler ─ landed

There are a quarter more requests than calls at a time: a connection that comes free is used at
once, and not only when the ledger has granted the next request. What has waited under its lease for
a second is released: the API is slow then, and others may be free.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from stopline.ledger.values import Answer, Retry
from stopline_worker.engine.attempt import READY_S
from stopline_worker.engine.flight import Flight, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopline.ledger.values import Grant, Settlement
    from stopline_worker.engine.attempt import Attempts
    from stopline_worker.engine.settler import Settler
    from stopline_worker.engine.slots import Slots

_log = logging.getLogger(__name__)
READY_SHARE: Final = 4
"""One request is claimed ahead for so many calls at a time."""


class Calls:
    """Holds flights, and makes their calls, so many at a time.

    Args:
        attempts: makes one.
        settler: writes what came of it.
        slots: room for claims, which flights take up.
        at_a_time: calls.
        on_landed: called with the grant of a flight that is over.
        on_retry: called with the seconds until another attempt of a request may begin.
    """

    def __init__(
        self,
        attempts: Attempts,
        settler: Settler,
        slots: Slots,
        *,
        at_a_time: int,
        on_landed: Callable[[Grant], None],
        on_retry: Callable[[float], None],
    ) -> None:
        self._attempts = attempts
        self._settler = settler
        self._slots = slots
        self._at_a_time = at_a_time
        self._on_landed = on_landed
        self._on_retry = on_retry
        # Dicts, not sets: what order they are gone through in must not depend on addresses.
        self._flights: dict[Flight, None] = {}
        self._callers: dict[asyncio.Task[None], None] = {}
        self._ready: deque[Flight] = deque()
        self._ready_watch: asyncio.TimerHandle | None = None
        self._held_back = 0
        self._nothing_in_flight = asyncio.Event()
        self._nothing_in_flight.set()

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        """The flights of this moment."""
        return iter(tuple(self._flights))

    def __contains__(self, flight: object) -> bool:
        return flight in self._flights

    def begin(self, grant: Grant) -> None:
        """Take a request that was granted: its call begins as soon as there is a caller."""
        flight = Flight(grant, grant.lease_end, self._attempts.clock.monotonic())
        self._flights[flight] = None
        self._nothing_in_flight.clear()
        self._ready.append(flight)
        if len(self._callers) < self._at_a_time:
            self._start_caller()
        elif self._ready_watch is None:
            self._watch_ready()

    def release_ready(self) -> None:
        """Let others have at once what was claimed ahead."""
        for flight in self._ready:
            flight.interrupt()
        self._start_caller()

    def interrupt_all(self) -> None:
        """Wait for no call any longer."""
        for flight in self:
            flight.interrupt()

    async def all_landed(self, limit_s: float) -> None:
        """Wait until every flight is over, and at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._nothing_in_flight.wait()

    # --- callers ------------------------------------------------------------------------------

    def _start_caller(self) -> None:
        caller = asyncio.create_task(self._call_while_ready())
        self._callers[caller] = None

    async def _call_while_ready(self) -> None:
        """Make one call after the other: the next begins without a round of the loop in between."""
        caller = asyncio.current_task()
        assert caller is not None  # noqa: S101  # a coroutine of a task
        try:
            while self._ready:
                flight = self._ready.popleft()
                flight.caller = caller
                await self._fly(flight)
                self._claim_ahead_again()
        finally:
            # Not in a done callback: what becomes ready before that would find no caller.
            del self._callers[caller]
            if self._ready:  # something ended this caller in the middle
                self._start_caller()

    async def _fly(self, flight: Flight) -> None:
        """Make the attempt and hand its result to the settler."""
        settlement = None
        try:
            settlement = await self._attempts.make(flight)
        except Exception:  # noqa: BLE001  # a fault of ours must not take the other calls with it
            _log.exception(
                "attempt failed inside Stopline; its lease will end",
                extra={"action": "attempt_failed", "request_id": flight.grant.request_id},
            )
        finally:
            if settlement is None:
                self._land(flight)
        if settlement is not None:
            self._settle(flight, settlement)

    def _settle(self, flight: Flight, settlement: Settlement) -> None:
        flight.phase = Phase.SETTLING
        self._settler.settle(
            settlement,
            lambda: flight.lease_ended(self._attempts.clock),
            lambda answer: self._settled(flight, settlement, answer),
        )
        # The call is over, so its connection is free. But results do not pile up: those that are on
        # their way when a worker is killed are calls that are made again.
        if self._settler.backlog <= self._at_a_time // READY_SHARE:
            self._give_slot_back(flight)

    def _settled(self, flight: Flight, settlement: Settlement, answer: Answer) -> None:
        self._land(flight)
        if answer is Answer.LOST:
            _log.warning(
                "lease lost before its result was written",
                extra={"action": "lease_lost", "request_id": flight.grant.request_id},
            )
        elif isinstance(settlement, Retry):
            self._on_retry(settlement.delay_us / 1_000_000)

    def _land(self, flight: Flight) -> None:
        """The request is no longer this engine's."""
        del self._flights[flight]
        if not self._flights:
            self._nothing_in_flight.set()
        self._give_slot_back(flight)
        self._on_landed(flight.grant)

    def _give_slot_back(self, flight: Flight) -> None:
        if flight.has_slot:
            flight.has_slot = False
            self._slots.give_back(1)

    # --- what waits for a caller --------------------------------------------------------------

    def _watch_ready(self) -> None:
        """While requests wait for a caller, look at them now and then."""
        self._ready_watch = asyncio.get_running_loop().call_later(READY_S / 2, self._check_ready)

    def _check_ready(self) -> None:
        self._ready_watch = None
        while self._ready and self._attempts.waited_too_long(self._ready[0]):
            flight = self._ready.popleft()
            # Its slot comes back when a call ends: to claim ahead before that would be in vain.
            flight.has_slot = False
            self._held_back += 1
            self._settle(flight, flight.released())
        if self._ready:
            self._watch_ready()

    def _claim_ahead_again(self) -> None:
        held_back, self._held_back = self._held_back, 0
        self._slots.give_back(held_back)
