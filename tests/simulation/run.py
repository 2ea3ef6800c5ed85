"""One seed is one run."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from stopline.contract import HeldPlace, Lane
from stopline.ledger import commands, gates, guards
from tests.simulation.broker import Broker
from tests.simulation.gate import gate_limits
from tests.simulation.guards import guards_of
from tests.simulation.invariants import BrokenError, Invariants
from tests.simulation.ledger import LedgerServer, SimulatedRedis
from tests.simulation.producer import Producer
from tests.simulation.upstream import TROUBLES, Upstream
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.worker import LIMITS, Worker
from tests.simulation.world import Faults, World

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

_FAULTS_S: Final = 6.0
_PATIENCE_S: Final = 120.0
"""After the last fault all must be terminal: the longest deadline, lease and backoff fit in, though
the ledger's clock may go at half speed."""
_LANES: Final = (
    (Lane.EMERGENCY, Lane.DEFAULT, Lane.BULK),
    (Lane.DEFAULT, Lane.BULK),
    (Lane.EMERGENCY,),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run."""

    seed: int
    broken: BaseException | None
    story: str
    counts: Counter[str]
    boundaries: int
    """How many moments before or after a step there were."""

    def without_story(self) -> Report:
        """The same, small."""
        return replace(self, story="")

    @property
    def summary(self) -> str:
        """One line, for people."""
        return f"seed {self.seed}: {self.broken}" if self.broken else f"seed {self.seed}: fine"


def simulate(
    seed: int,
    server: LedgerServer,
    *,
    faults: Faults | None = None,
    crash_at: int | None = None,
) -> Report:
    """Run one seed on an empty server; faults and crash as `World` takes them."""
    server.client.flushall()
    world = World(seed, faults=faults, crash_at=crash_at)
    run = _Run(world, server)
    with _errors_of_the_engine(world):
        try:
            VirtualLoop().run(run.main())
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this seed's result
            world.fail(error)
    return Report(seed, world.broken, world.story(), world.counts, world.boundaries)


class _Errors(logging.Handler):
    """The engine survives its own faults and logs them; here they are failures."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        action = getattr(record, "action", "")
        if action.startswith("api_"):
            return  # the upstream's fault, said loudly, as it should be
        if self._world.faults.clock_step and action == "call_stuck":
            return  # a process stood still for longer than a lease, which went at half speed
        error = record.exc_info[1] if record.exc_info else None
        if not self._world.over:
            self._world.fail(error or AssertionError(record.getMessage()))


@contextmanager
def _errors_of_the_engine(world: World) -> Iterator[None]:
    log = logging.getLogger("stopline_worker")
    handler = _Errors(world)
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.propagate = before
        log.removeHandler(handler)


class _Run:
    """Puts the parts together, and lets them live."""

    def __init__(self, world: World, server: LedgerServer) -> None:
        self._world = world
        self._upstream = Upstream(world)
        limits = replace(
            LIMITS,
            gate=gate_limits(world.seed),
            upstream_failures_max=world.trouble_random.choice([None, None, 3]),
        )
        self._guards = guards_of(world.seed)
        self._invariants = Invariants(world, server, self._upstream, limits, self._guards)
        self._redis = SimulatedRedis(world, server, self._invariants)
        self._broker = Broker(world)
        workers = world.random.choice([_LANES[:1], _LANES[:1] * 2, _LANES[1:]])
        self._workers = [
            Worker(
                world,
                self._redis,
                self._upstream,
                self._broker,
                f"worker-{number}",
                lanes,
                limits=limits,
            )
            for number, lanes in enumerate(workers, 1)
        ]
        self._producers = [
            Producer(world, self._redis, self._broker, f"producer-{number}", actions=4)
            for number in (1, 2)
        ]

    async def main(self) -> None:
        """All of a run."""
        self._world.tell("world", f"{self._world.faults}")
        if self._guards:
            self._redis.run("person", guards.apply_guards(LIMITS, self._guards, "", None))
        lives = [asyncio.create_task(worker.live()) for worker in self._workers]
        lives.append(asyncio.create_task(self._trouble()))
        lives.append(asyncio.create_task(self._steps()))
        lives.append(asyncio.create_task(self._api_troubles()))
        working = [asyncio.create_task(producer.work()) for producer in self._producers]
        await self._world.unless_broken(asyncio.sleep(_FAULTS_S))
        self._heal()
        await self._world.unless_broken(asyncio.gather(*working))
        await self._world.unless_broken(self._until_terminal(lives))
        self._world.over = True
        self._invariants.check_end()
        for producer in self._producers:
            for batch_id in producer.batch_ids:
                self._invariants.check_batch(batch_id)

    def _heal(self) -> None:
        self._world.tell("world", "HEALS: no faults from here on")
        self._world.healed = True
        self._redis.is_down = False
        self._upstream.troubled_by = None

    async def _trouble(self) -> None:
        """Redis goes away now and then."""
        while not self._world.healed:
            await asyncio.sleep(1.0)
            if self._world.strikes("redis_down"):
                self._world.tell("redis", "is down")
                self._redis.is_down = True
                await self._world.pause(0.2, 5.0)
                self._redis.is_down = False
                self._world.tell("redis", "is up")

    async def _api_troubles(self) -> None:
        """The API is of no use to anybody now and then, and a person pauses a lane."""
        random = self._world.trouble_random
        while not self._world.healed:
            await asyncio.sleep(0.9)
            if self._world.strikes("api_trouble"):
                self._upstream.troubled_by = random.choice(TROUBLES)
                self._world.tell("api", f"answers all with {self._upstream.troubled_by}")
                await asyncio.sleep(random.uniform(0.5, 4.0))
                self._upstream.troubled_by = None
                self._world.tell("api", "is well again")
            if self._world.strikes("api_trouble") and not self._redis.is_down:
                lasts_us = random.choice([0, 500_000, 2_000_000])
                lane = random.choice(list(Lane))
                command = gates.pause_lane(LIMITS, lane, lasts_us, "simulated", "person", None)
                self._redis.run("person", command)

    async def _steps(self) -> None:
        """The server's clock steps now and then."""
        while not self._world.healed:
            await asyncio.sleep(0.7)
            if self._world.strikes("clock_step"):
                self._world.step_clock()

    async def _until_terminal(self, lives: list[asyncio.Task[None]]) -> None:
        end = self._world.monotonic() + _PATIENCE_S
        # Late commands and messages may still come: they must find nothing to double.
        await asyncio.sleep(7.0)
        while not self._invariants.all_terminal:
            for life in lives:
                if life.done() and not life.cancelled() and (error := life.exception()):
                    raise error
            if self._world.monotonic() > end:
                raise BrokenError("a", "stuck: not all is terminal")
            self._let_go()
            await asyncio.sleep(0.5)

    def _let_go(self) -> None:
        """A person lets go what is held or paused: a clock step may put its deadline far ahead."""
        for batch_id in (one for producer in self._producers for one in producer.batch_ids):
            self._redis.run("person", commands.resume_batch(LIMITS, batch_id, None))
        for guard in self._guards:
            first = guards.held_ids(HeldPlace(guard.source), 100)
            held = [request_id for request_id, _ in self._redis.run("person", first)]
            if held:
                self._redis.run("person", guards.release(LIMITS, held, None))
