"""A simulated worker: the real engine in a process that crashes, drains, and comes back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stopline.errors import UnavailableError
from stopline.ledger import commands
from stopline.ledger.limits import Limits
from stopline.ledger.values import Accepted
from stopline_worker.engine.attempt import Attempts
from stopline_worker.engine.backoff import Backoff
from stopline_worker.engine.clock import LedgerClock
from stopline_worker.engine.engine import Engine
from stopline_worker.upstream.api_watch import ApiWatch
from tests.simulation.broker import DispatchMessage, Message, StopMessage
from tests.simulation.ledger import Connection, SimulatedRedis
from tests.simulation.process import Process
from tests.simulation.upstream import ApiOf, NoToken, Upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import Lane
    from tests.simulation.broker import Broker
    from tests.simulation.world import World

LIMITS: Final = Limits(
    deadline_s=20,
    lease_s=3,
    look_again_s=1,
    attempts_max=4,
    outcomes_max=1_000_000,
    counts=True,
    recent_max=1_000_000,
)
_BACKOFF: Final = Backoff(0.1, 1.0)
_DRAIN_S = 0.5
_VISIBILITY_TIMEOUT_S = 4.0


@dataclass(frozen=True, slots=True)
class FixedLanes:
    """Lanes that nobody pauses."""

    consumed: tuple[Lane, ...]
    paused: tuple[Lane, ...] = ()

    @property
    def served(self) -> tuple[Lane, ...]:
        """All of them."""
        return self.consumed


class Worker:
    """A worker and all its lives."""

    def __init__(  # noqa: PLR0913  # two are for one test only
        self,
        world: World,
        redis: SimulatedRedis,
        upstream: Upstream,
        broker: Broker,
        name: str,
        lanes: Sequence[Lane],
        *,
        max_in_flight: int = 4,  # so that one is claimed ahead
        limits: Limits = LIMITS,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self._limits = limits
        self._backoff = backoff
        self._world = world
        self._redis = redis
        self._upstream = upstream
        self._broker = broker
        self._name = name
        self._lanes = lanes
        self._max_in_flight = max_in_flight
        self._process: Process
        self._connection: Connection
        self._engine: Engine
        self._consumes = False
        broker.consumers.append(self)

    async def live(self) -> None:
        """Start, run until something ends it, and start again, for ever."""
        for life in range(1, 1_000_000):
            self._start(f"{self._name}.{life}")
            await self._until_the_end()
            await self._world.pause(0.05, 1.5)

    def _start(self, name: str) -> None:
        world = self._world
        self._process = Process(world, name)
        self._connection = Connection(self._process, self._redis)
        attempts = Attempts(
            api=ApiOf(self._process, self._upstream),
            token=NoToken(),
            backoff=self._backoff,
            random=world.random,
            watch=ApiWatch(world.monotonic),
            clock=LedgerClock(world.monotonic),
        )
        self._engine = Engine(
            self._connection,
            attempts,
            self._limits,
            FixedLanes(tuple(self._lanes)),
            max_in_flight=self._max_in_flight,
            name=name,
            random=world.random,
        )
        self._process.tell("starts")
        self._engine.start()
        self._consumes = True

    async def _until_the_end(self) -> None:
        died = asyncio.create_task(self._process.died.wait())
        while not died.done():
            await asyncio.wait([died], timeout=2.0)
            if not died.done() and self._world.strikes("terminate"):
                await self._drain(died)
        self._consumes = False

    async def _drain(self, died: asyncio.Task[bool]) -> None:
        self._process.tell("drains")
        self._consumes = False
        drained = asyncio.create_task(self._engine.drain(_DRAIN_S))
        await asyncio.wait([died, drained], return_when=asyncio.FIRST_COMPLETED)
        self._process.die("drained" if drained.done() else "draining")
        await died

    # --- messages: what tasks.py does, without Celery ------------------------------------------

    def serves(self, lane: Lane) -> bool:
        """As a consumer of the broker."""
        return self._consumes and self._process.alive and lane in self._lanes

    async def handle(self, message: Message) -> None:
        """As a consumer of the broker."""
        match message:
            case DispatchMessage(_, request_ids):
                await self._submit(request_ids)
            case StopMessage():
                self._redeliver_unless_acknowledged(
                    message, asyncio.create_task(self._accept(message))
                )

    async def _submit(self, request_ids: Sequence[str]) -> None:
        try:
            await self._engine.submit(request_ids, self._limits.look_again_s)
        except UnavailableError:
            self._process.tell("leaves ids to the sweep")

    async def _accept(self, message: StopMessage) -> bool:
        command = commands.accept(self._limits, [message.submission], expire_late=True)
        try:
            (reply,) = await self._connection.run(command)
        except UnavailableError:
            return False
        if isinstance(reply, Accepted) and reply.dispatch:
            await self._submit([reply.receipt.request_id])
        return True

    def _redeliver_unless_acknowledged(
        self, message: StopMessage, accepted: asyncio.Task[bool]
    ) -> None:
        def look() -> None:
            if not (accepted.done() and not accepted.cancelled() and accepted.result()):
                self._broker.publish(message)

        asyncio.get_running_loop().call_later(_VISIBILITY_TIMEOUT_S, look)
