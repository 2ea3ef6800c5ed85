"""A request that kills its process is quarantined, and takes no neighbour along."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from stopline.contract import Lane, OutcomeKind, StopRequest
from stopline.ledger import commands
from stopline.ledger.values import Submission
from tests.simulation.broker import Broker, DispatchMessage
from tests.simulation.invariants import Invariants
from tests.simulation.ledger import Connection, LedgerServer, SimulatedRedis
from tests.simulation.process import Process
from tests.simulation.upstream import Upstream
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.worker import LIMITS, Worker
from tests.simulation.world import Faults, World

_NEIGHBOURS = 60


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("poison", [1, 2])
def test_poison_is_quarantined_and_its_neighbours_end_normally(seed: int, poison: int) -> None:
    world = World(seed, faults=Faults.none())
    server = LedgerServer()
    upstream = Upstream(world)
    invariants = Invariants(world, server, upstream, LIMITS)
    redis = SimulatedRedis(world, server, invariants)
    broker = Broker(world)
    worker = Worker(world, redis, upstream, broker, "worker", [Lane.BULK], max_in_flight=20)
    targets = [str(number) for number in range(_NEIGHBOURS + poison)]
    upstream.poison = {f"u/{one}" for one in world.random.sample(targets, poison)}

    async def main() -> None:
        life = asyncio.create_task(worker.live())
        requests = [
            StopRequest(user_id="u", task_id=one, lane=Lane.BULK, request_id=world.new_id())
            for one in targets
        ]
        connection = Connection(Process(world, "producer"), redis)
        command = commands.accept(LIMITS, [Submission(one) for one in requests])
        await world.unless_broken(connection.run(command))
        broker.publish(DispatchMessage(Lane.BULK, tuple(one.request_id for one in requests)))
        while not invariants.all_terminal:
            await world.unless_broken(asyncio.sleep(0.5))
            assert world.monotonic() < 60
        world.over = True
        life.cancel()

    VirtualLoop().run(main())
    outcomes = Counter(invariants.kind_of(request_id) for request_id in invariants.wishes)
    assert outcomes == {OutcomeKind.STOPPED: _NEIGHBOURS, OutcomeKind.QUARANTINED: poison}
    assert world.counts["calls"] < 6 * _NEIGHBOURS
