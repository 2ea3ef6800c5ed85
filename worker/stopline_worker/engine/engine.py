"""The engine: an asyncio loop that holds many calls in flight at once.

    submit ─┐                        ┌─ attempt: deadline → call → verdict → settle
    sweep ──┴─ slots ─ claim ─ calls ┴─ attempt …
    leases: renewed in flight        drain: claim no more, finish, release the rest

Who claims takes slots first, so that there is a caller soon for whatever is granted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from stopline import telemetry
from stopline.contract import REQUESTS_A_CALL, GateCause
from stopline.errors import UnavailableError
from stopline.ledger import commands
from stopline_worker.engine.calls import READY_SHARE, Calls
from stopline_worker.engine.leases import Leases
from stopline_worker.engine.settler import Settler
from stopline_worker.engine.slots import Slots
from stopline_worker.engine.suspects import Suspects
from stopline_worker.engine.turns import OneAtATime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from stopline.ledger.limits import Limits
    from stopline.ledger.values import Claimed, Command, Grant, Promotion, SuspectRoom
    from stopline_worker.engine.attempt import Attempts
    from stopline_worker.engine.ports import Lanes, Records

_log = logging.getLogger(__name__)

_SWEEP_INTERVAL_S: Final = 1.0
"""How long an idle engine waits before it looks at the due index again."""
_SOON_S: Final = 0.005
_LINGER_S: Final = 0.002
"""How long a full engine lets slots come free before it claims for them: claiming one by one costs
more than the slots' rest."""
_WORTH_CLAIMING: Final = 32
"""So many free slots are claimed for without waiting for more."""
_LEDGER_AWAY_S: Final = 1.0
_SETTLE_AT_EXIT_S: Final = 5.0


class Engine:
    """Claims requests, makes their calls, and settles them. Lives on one event loop.

    Args:
        ledger: where requests are.
        attempts: makes an attempt; the engine goes by the same clock.
        limits: the ledger's.
        lanes: the lanes that it works for.
        max_in_flight: calls at a time.
        name: unlike that of any other engine, a former one of the same process included.
        random: for what must not happen to all engines at once.
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
        random: Random,
    ) -> None:
        self._ledger = OneAtATime(ledger)
        self._limits = limits
        self._lanes = lanes
        self._max_in_flight = max_in_flight
        self._worth_claiming = min(_WORTH_CLAIMING, max_in_flight // 4)
        self._clock = attempts.clock
        self._token = attempts.token
        self._reread_at = float("-inf")
        self._random = random
        self._slots = Slots(max_in_flight + max_in_flight // READY_SHARE)
        self._suspects = Suspects()
        self._settler = Settler(self._ledger, limits, self._claim_promoted)
        self._calls = Calls(
            attempts,
            self._settler,
            self._slots,
            at_a_time=max_in_flight,
            on_landed=self._landed,
            on_retry=self._look_in,
        )
        self._leases = Leases(ledger, limits, self._calls, self._clock)
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
        return len(self._calls)

    @property
    def since_sweep_s(self) -> float | None:
        """Seconds since it last looked at what is due; None before the first time."""
        return None if self._swept_at is None else self._clock.monotonic() - self._swept_at

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sweep, renew and settle."""
        self._loops = [
            asyncio.create_task(self._sweep_for_ever(), name="sweep"),
            asyncio.create_task(self._leases.renew_for_ever(), name="renew"),
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
        self._calls.release_ready()
        await self._calls.all_landed(limit_s)
        self._calls.interrupt_all()
        await self._calls.all_landed(_SETTLE_AT_EXIT_S)
        for loop in (renew, settle):
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

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
                    command = commands.claim(
                        self._limits,
                        chunk,
                        token,
                        suspect_room=suspects,
                        traces=telemetry.is_on(),
                    )
                    claimed = await self._claim(room, suspects, command)
                    if claimed.next_due is not None:
                        self._look_now.set()  # the rest of its batch waits for its turn
        except TimeoutError:
            _log.debug(
                "no room for a message, left to the sweep",
                extra={"action": "submit_full", "requests": len(waiting)},
            )

    async def _take_room(self, wanted: int) -> int:
        """Take slots as they come free; none once the engine drains."""
        wanted = min(wanted, REQUESTS_A_CALL)
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
                self._calls.begin(grant)
                begun.append(grant)
        finally:
            self._slots.give_back(room - len(begun))
            self._suspects.give_back(suspects, begun)
        self._claim_promoted(claimed.promoted)
        if claimed.shut is GateCause.CREDENTIAL:
            self._reread_token()
        return claimed

    def _reread_token(self) -> None:
        """Another worker's calls may have been refused: this one's would be, too."""
        now = self._clock.monotonic()
        if now - self._reread_at >= _SWEEP_INTERVAL_S:
            self._reread_at = now
            self._token.reread()

    # --- what calls tell ----------------------------------------------------------------------

    def _landed(self, grant: Grant) -> None:
        if self._suspects.landed(grant):
            self._look_now.set()  # there is room for the next one

    def _look_in(self, delay_s: float) -> None:
        """A request is due again; what is due later, the next sweeps find in time."""
        if delay_s < _SWEEP_INTERVAL_S:
            asyncio.get_running_loop().call_later(delay_s, self._look_now.set)

    # --- sweeping -----------------------------------------------------------------------------

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
        room = await self._take_room(self._max_in_flight)
        self._look_now.clear()
        # After a failure the same again: the ledger may have granted what no reply told of.
        token = self._sweep_token = self._sweep_token or self._next_token()
        suspects = self._suspects.take_room()
        command = commands.claim_due(
            self._limits,
            self._lanes.consumed,
            token,
            limit=room,
            suspect_room=suspects,
            traces=telemetry.is_on(),
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
