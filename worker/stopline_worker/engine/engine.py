"""The engine: an asyncio loop that holds many calls in flight at once.

    submit ─┐                        ┌─ attempt: deadline → call → verdict → settle
    sweep ──┴─ slots ─ claim ─ ready ┴─ attempt …
    renew: leases in flight          drain: claim no more, finish, release the rest

Who claims takes slots first. There are a quarter more slots than calls at a time: a connection that
comes free is used at once, and not only when the ledger has granted the next request. What has
waited under its lease for a second is released: the API is slow then, and others may be free.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from stopline.contract import MESSAGE_IDS_MAX
from stopline.errors import UnavailableError
from stopline.ledger import commands
from stopline.ledger.values import Answer, Retry
from stopline_worker.engine.attempt import INTERRUPTED, Attempts, Measured
from stopline_worker.engine.flight import Flight
from stopline_worker.engine.settler import Settler
from stopline_worker.engine.slots import Slots
from stopline_worker.engine.suspects import Suspects
from stopline_worker.upstream.reply import CallErrorKind, NoReply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from stopline.ledger.limits import Limits
    from stopline.ledger.values import Claimed, Command, Grant, Promotion, Settlement, SuspectRoom
    from stopline_worker.engine.clock import LedgerClock
    from stopline_worker.engine.ports import Lanes, Records

_log = logging.getLogger(__name__)

_SWEEP_INTERVAL_S = 1.0
"""How long an idle engine waits before it looks at the due index again."""
_SOON_S = 0.005
_LINGER_S = 0.002
"""How long a full engine lets slots come free before it claims for them: claiming one by one costs
more than the slots' rest."""
_WORTH_CLAIMING = 32
"""So many free slots are claimed for without waiting for more."""
_READY_SHARE = 4
"""One request is claimed ahead for so many calls at a time."""
_READY_S = 1.0
"""How long a claimed request may wait for its call. To those who cancel it or resume its target, it
looks as if it were called already."""
_LEDGER_AWAY_S = 1.0
_SETTLE_AT_EXIT_S = 5.0
_RENEWALS_A_LEASE = 3


class Engine:
    """Claims requests, makes their calls, and settles them. Lives on one event loop.

    Args:
        name: unlike that of any other engine, a former one of the same process included.
    """

    def __init__(
        self,
        ledger: Records,
        attempts: Attempts,
        limits: Limits,
        lanes: Lanes,
        *,
        max_in_flight: int,
        name: str,
        clock: LedgerClock,
        random: Random,
    ) -> None:
        self._ledger = ledger
        self._attempts = attempts
        self._limits = limits
        self._lanes = lanes
        self._slots = Slots(max_in_flight + max_in_flight // _READY_SHARE)
        self._max_in_flight = max_in_flight
        self._worth_claiming = min(_WORTH_CLAIMING, max_in_flight // 4)
        self._callers: dict[asyncio.Task[None], None] = {}
        self._ready: deque[Flight] = deque()
        self._ready_watch: asyncio.TimerHandle | None = None
        self._held_back = 0
        self._settler = Settler(ledger, limits, self._claim_promoted)
        self._clock = clock
        self._random = random
        self._suspects = Suspects()
        # Dicts, not sets: what order they are gone through in must not depend on addresses.
        self._flights: dict[Flight, None] = {}
        self._nothing_in_flight = asyncio.Event()
        self._nothing_in_flight.set()
        self._name = name
        self._claims = 0
        self._sweep_token: str | None = None
        self._swept_at: float | None = None
        self._draining = False
        self._look_now = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._claiming: dict[asyncio.Task[Claimed], None] = {}
        self._promoting: dict[asyncio.Task[None], None] = {}

    @property
    def in_flight(self) -> int:
        """How many requests it holds."""
        return len(self._flights)

    @property
    def since_sweep_s(self) -> float | None:
        """Seconds since it last looked at what is due; None before the first time."""
        return None if self._swept_at is None else self._clock.monotonic() - self._swept_at

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sweep, renew and settle."""
        self._loops = [
            asyncio.create_task(self._sweep_for_ever(), name="sweep"),
            asyncio.create_task(self._renew_for_ever(), name="renew"),
            asyncio.create_task(self._settler.run(), name="settle"),
        ]

    async def drain(self, limit_s: float) -> None:
        """Claim no more, let calls finish within the limit, release the rest, and stop."""
        self._draining = True
        sweep, renew, settle = self._loops
        sweep.cancel()
        for task in tuple(self._promoting):
            task.cancel()
        await asyncio.gather(*self._claiming, return_exceptions=True)
        self._release_ready()
        await self._flown(limit_s)
        for flight in tuple(self._flights):
            flight.interrupted = True
            flight.abandon()
        await self._flown(_SETTLE_AT_EXIT_S)
        for loop in (renew, settle):
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def _flown(self, limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._nothing_in_flight.wait()

    # --- ways in ------------------------------------------------------------------------------

    async def submit(self, request_ids: Sequence[str], timeout_s: float) -> None:
        """Claim the ids of a dispatch message as room comes free; returns once they are claimed.

        Gives up after the timeout: when the ids are due, any engine's sweep finds them.
        """
        waiting = deque(dict.fromkeys(request_ids))
        try:
            async with asyncio.timeout(timeout_s):
                while waiting and (room := await self._take_room(len(waiting))):
                    chunk = [waiting.popleft() for _ in range(room)]
                    token = self._next_token()
                    suspects = self._suspects.take_room()
                    command = commands.claim(self._limits, chunk, token, suspect_room=suspects)
                    await self._claim(room, suspects, command)
        except TimeoutError:
            _log.debug(
                "no room for a message, left to the sweep",
                extra={"action": "submit_full", "requests": len(waiting)},
            )

    async def _take_room(self, wanted: int) -> int:
        """Take slots as they come free; none once the engine drains."""
        wanted = min(wanted, MESSAGE_IDS_MAX)
        room = await self._slots.take(wanted)
        try:
            if room < min(wanted, self._worth_claiming):
                await asyncio.sleep(_LINGER_S)
                room += self._slots.top_up(wanted - room)
        except asyncio.CancelledError:
            self._slots.give_back(room)
            raise
        if self._draining:
            self._slots.give_back(room)
            return 0
        return room

    def _claim_promoted(self, promoted: tuple[Promotion, ...]) -> None:
        """Take the next requests of targets that are free now, where this engine serves them."""
        lowest = max((lane.urgency for lane in self._lanes.consumed), default=-1)
        ids = [
            one.request_id
            for one in promoted
            if one.lane.urgency <= lowest and one.lane not in self._lanes.paused
        ]
        if not ids or self._draining:
            return  # they are due: the sweep of their lane takes them
        task = asyncio.create_task(self._submit_quietly(ids))
        self._promoting[task] = None
        task.add_done_callback(self._promoting.pop)

    async def _submit_quietly(self, request_ids: list[str]) -> None:
        try:
            await self.submit(request_ids, self._limits.look_again_s)
        except UnavailableError as error:
            _log.warning("ledger away: %s", error, extra={"action": "claim_failed"})

    # --- claiming -----------------------------------------------------------------------------

    def _next_token(self) -> str:
        self._claims += 1
        return f"{self._name}:{self._claims:x}"

    async def _claim(self, room: int, suspects: SuspectRoom, command: Command[Claimed]) -> Claimed:
        """Run a claim and begin what it grants.

        Shielded, because a claim whose reply nobody reads would hold its leases for nothing.
        """
        task = asyncio.create_task(self._claim_into(room, suspects, command))
        self._claiming[task] = None
        task.add_done_callback(self._claiming.pop)
        return await asyncio.shield(task)

    async def _claim_into(
        self, room: int, suspects: SuspectRoom, command: Command[Claimed]
    ) -> Claimed:
        """Fill the room that was taken; what the claim leaves empty goes back."""
        started = self._clock.monotonic()
        begun: list[Grant] = []
        try:
            claimed = await self._ledger.run(command)
            self._clock.observe(claimed.now, started)
            for grant in claimed.grants:
                self._begin(grant)
                begun.append(grant)
        finally:
            self._slots.give_back(room - len(begun))
            self._suspects.give_back(suspects, begun)
        self._claim_promoted(claimed.promoted)
        return claimed

    def _begin(self, grant: Grant) -> None:
        flight = Flight(grant, grant.lease_end, self._clock.monotonic())
        self._flights[flight] = None
        self._nothing_in_flight.clear()
        self._ready.append(flight)
        if len(self._callers) < self._max_in_flight:
            self._start_caller()
        elif self._ready_watch is None:
            self._watch_ready()

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
                flight.task = caller
                await self._fly(flight)
                self._claim_ahead_again()
        finally:
            # Not in a done callback: what becomes ready before that would find no caller.
            del self._callers[caller]
            if self._ready:  # something ended this caller in the middle
                self._start_caller()

    def _watch_ready(self) -> None:
        """While requests wait for a caller, look at them now and then."""
        self._ready_watch = asyncio.get_running_loop().call_later(_READY_S / 2, self._check_ready)

    def _check_ready(self) -> None:
        self._ready_watch = None
        while self._ready and self._waited_too_long(self._ready[0]):
            flight = self._ready.popleft()
            # Its slot comes back when a call ends: to claim ahead before that would be in vain.
            flight.has_slot = False
            self._held_back += 1
            self._settle(flight, flight.release())
        if self._ready:
            self._watch_ready()

    def _waited_too_long(self, flight: Flight) -> bool:
        return self._clock.monotonic() - flight.since > _READY_S

    def _claim_ahead_again(self) -> None:
        held_back, self._held_back = self._held_back, 0
        self._slots.give_back(held_back)

    def _release_ready(self) -> None:
        """Let others have at once what was claimed ahead."""
        for flight in self._ready:
            flight.interrupted = True
        self._start_caller()

    # --- an attempt ---------------------------------------------------------------------------

    async def _fly(self, flight: Flight) -> None:
        """Make the attempt and hand its result to the settler."""
        settlement = None
        try:
            settlement = await self._attempt(flight)
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

    def _land(self, flight: Flight) -> None:
        """The request is no longer this engine's."""
        del self._flights[flight]
        if not self._flights:
            self._nothing_in_flight.set()
        self._give_slot_back(flight)
        if self._suspects.landed(flight.grant):
            self._look_now.set()  # there is room for the next one

    def _give_slot_back(self, flight: Flight) -> None:
        if flight.has_slot:
            flight.has_slot = False
            self._slots.give_back(1)

    async def _attempt(self, flight: Flight) -> Settlement | None:
        """Deadline, call, verdict. None: the lease is lost, and nothing is to be settled."""
        if self._lease_ended(flight):
            return None
        # After a standstill the lease may be too short for a whole call.
        if (
            flight.interrupted
            or self._waited_too_long(flight)
            or self._clock.now_us() >= flight.grant.not_after
        ):
            return flight.release()
        measured = await self._call(flight)
        if measured is None:
            return None
        return self._conclude(flight, measured)

    def _conclude(self, flight: Flight, measured: Measured) -> Settlement:
        try:
            return self._attempts.conclude(flight.grant, measured)
        except Exception as error:  # noqa: BLE001  # a fault of ours, recorded as one
            # Left alone it would look like a lost worker, three times over like poison.
            failed = self._internal_error(flight, error)
            return self._attempts.conclude(flight.grant, measured._replace(result=failed))

    def _internal_error(self, flight: Flight, error: Exception) -> NoReply:
        _log.exception(
            "call failed inside Stopline",
            extra={"action": "call_failed", "request_id": flight.grant.request_id},
        )
        return NoReply(CallErrorKind.INTERNAL, type(error).__name__)

    async def _call(self, flight: Flight) -> Measured | None:
        started = asyncio.get_running_loop().time()
        flight.calling, flight.since = True, self._clock.monotonic()
        try:
            return await self._attempts.call(flight.grant)
        except asyncio.CancelledError:
            if not (flight.lost or flight.interrupted):
                raise
            if flight.task is not None:
                flight.task.uncancel()  # it was this call that was to end, not its caller
            if flight.lost:
                return None
            took_s = asyncio.get_running_loop().time() - started
            return Measured(INTERRUPTED, took_s)
        except Exception as error:  # noqa: BLE001  # a fault of ours must not take the other calls with it
            failed = self._internal_error(flight, error)
            return Measured(failed, asyncio.get_running_loop().time() - started)
        finally:
            flight.calling = False

    def _settle(self, flight: Flight, settlement: Settlement) -> None:
        self._settler.settle(
            settlement,
            lambda: self._lease_ended(flight),
            lambda answer: self._settled(flight, settlement, answer),
        )
        # The call is over, so its connection is free. But results do not pile up: those that are on
        # their way when a worker is killed are calls that are made again.
        if self._settler.backlog <= self._max_in_flight // _READY_SHARE:
            self._give_slot_back(flight)

    def _settled(self, flight: Flight, settlement: Settlement, answer: Answer) -> None:
        self._land(flight)
        if answer is Answer.LOST:
            _log.warning(
                "lease lost before its result was written",
                extra={"action": "lease_lost", "request_id": flight.grant.request_id},
            )
        elif isinstance(settlement, Retry):
            delay_s = settlement.delay_us / 1_000_000
            if delay_s < _SWEEP_INTERVAL_S:  # what is later, the next sweeps find in time
                asyncio.get_running_loop().call_later(delay_s, self._look_now.set)

    def _lease_ended(self, flight: Flight) -> bool:
        return flight.lost or self._clock.now_us() >= flight.lease_end_us

    # --- loops --------------------------------------------------------------------------------

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                pause_s = await self._sweep()
            except UnavailableError as error:
                _log.warning("ledger away: %s", error, extra={"action": "sweep_failed"})
                pause_s = _LEDGER_AWAY_S
            except Exception:  # noqa: BLE001  # a fault of ours must not take the other calls with it
                _log.exception("sweep failed", extra={"action": "sweep_failed"})
                pause_s = _LEDGER_AWAY_S
            await self._pause(pause_s)

    async def _sweep(self) -> float:
        """Claim what is due, as far as there is room.

        Returns:
            Seconds until it is worth looking again.
        """
        if not self._lanes.consumed:  # somebody paused them all
            self._swept_at = self._clock.monotonic()
            return _SWEEP_INTERVAL_S
        room = await self._slots.take(min(self._max_in_flight, MESSAGE_IDS_MAX))
        self._look_now.clear()
        # After a failure the same again: the ledger may have granted what no reply told of.
        token = self._sweep_token = self._sweep_token or self._next_token()
        suspects = self._suspects.take_room()
        command = commands.claim_due(
            self._limits, self._lanes.consumed, token, limit=room, suspect_room=suspects
        )
        claimed = await self._claim(room, suspects, command)
        self._sweep_token = None
        self._swept_at = self._clock.monotonic()
        if claimed.next_due is None:
            return _SWEEP_INTERVAL_S
        due_in_s = (claimed.next_due - self._clock.now_us()) / 1_000_000
        # This clock may be a little ahead: do not ask in circles until the ledger's is there.
        return max(0.0 if claimed.grants else _SOON_S, due_in_s)

    async def _pause(self, longest_s: float) -> None:
        # Engines that started together do not sweep together for ever.
        interval_s = _SWEEP_INTERVAL_S * self._random.uniform(0.75, 1.25)
        try:
            async with asyncio.timeout(min(longest_s, interval_s)):
                await self._look_now.wait()
        except TimeoutError:
            pass

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._limits.lease_s / _RENEWALS_A_LEASE)
            try:
                await self._renew()
            except Exception as error:  # noqa: BLE001  # the leases decide; the loop goes on
                _log.warning("leases not renewed: %s", error, extra={"action": "renew_failed"})

    async def _renew(self) -> None:
        self._interrupt_stuck()
        flights = list(self._flights)
        for first in range(0, len(flights), MESSAGE_IDS_MAX):
            chunk = flights[first : first + MESSAGE_IDS_MAX]
            started = self._clock.monotonic()
            renewed = await self._ledger.run(
                commands.renew(
                    self._limits, [(one.grant.request_id, one.grant.token) for one in chunk]
                )
            )
            self._clock.observe(renewed.now, started)
            for flight, kept in zip(chunk, renewed.kept, strict=True):
                self._mark_renewed(flight, renewed.now, kept=kept)

    def _interrupt_stuck(self) -> None:
        """End calls that their own timeout, which is shorter than a lease, did not end."""
        limit = self._clock.monotonic() - self._limits.lease_s
        for flight in self._flights:
            if flight.calling and flight.since < limit:
                flight.interrupted = True
                flight.abandon()
                _log.error(
                    "call stuck, interrupted",
                    extra={"action": "call_stuck", "request_id": flight.grant.request_id},
                )

    def _mark_renewed(self, flight: Flight, now_us: int, *, kept: bool) -> None:
        if kept:
            flight.lease_end_us = now_us + round(self._limits.lease_s * 1_000_000)
        elif flight in self._flights and (flight.calling or flight.task is None):
            flight.lost = True
            flight.abandon()
            _log.warning(
                "lease lost, call abandoned",
                extra={"action": "lease_lost", "request_id": flight.grant.request_id},
            )
