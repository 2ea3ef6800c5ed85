"""A simulated producer: the client's real verbs, in a process that crashes and begins again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stopline.client import verbs
from stopline.contract import HeldPlace, Lane, StopRequest, Target, from_microseconds
from stopline.errors import StoplineError, UnavailableError
from stopline.ledger import queries
from stopline.ledger.values import Accepted, Submission
from tests.simulation.broker import Broker, DispatchMessage, StopMessage
from tests.simulation.guards import WILD
from tests.simulation.ledger import Connection, SimulatedRedis
from tests.simulation.process import Process
from tests.simulation.worker import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from tests.simulation.world import World

T = TypeVar("T")
_TARGETS: Final = 3
_KEYS: Final = 2


class _CrashedError(Exception):
    """The producer is gone; its caller starts another one."""


class Producer:
    """Sends a few wishes, and steers them."""

    def __init__(
        self, world: World, redis: SimulatedRedis, broker: Broker, name: str, actions: int
    ) -> None:
        self._world = world
        self._redis = redis
        self._broker = broker
        self._name = name
        self._actions = actions
        self._known: list[str] = []
        self._batches = 0
        self.batch_ids: list[str] = []

    async def work(self) -> None:
        """Do all its actions, each again until it is through."""
        kinds = [self._stop, self._stop, self._batch, self._plain, self._cancel, self._resume]
        kinds += [self._redrive, self._release, self._batch, self._steer_batch]
        for _ in range(self._actions):
            await self._world.pause(0.0, 1.2)
            await self._world.random.choice(kinds)()

    # --- actions ------------------------------------------------------------------------------

    async def _stop(self) -> None:
        request = self._request()
        if self._world.random.random() < 0.3:
            key = f"{request.target}#{self._world.random.randrange(_KEYS)}"
            request = request.model_copy(update={"idempotency_key": key})
        replies = await self._until_through(
            lambda: verbs.submit(LIMITS, [verbs.submission(request, None)])
        )
        self._known += [
            one.receipt.request_id for one in replies or () if isinstance(one, Accepted)
        ]

    async def _batch(self) -> None:
        """A run that is repeated has new request ids, and the same places."""
        self._batches += 1
        batch_id = f"{self._name}-{self._batches}"
        self.batch_ids.append(batch_id)
        requests = [self._request() for _ in range(self._world.random.randint(2, 5))]

        def submit() -> Generator[verbs.Step, Any, Any]:
            again = [
                one.model_copy(update={"request_id": self._world.new_id()}) for one in requests
            ]
            return verbs.submit_many(LIMITS, again, batch_id)

        results = await self._until_through(submit)
        self._known += [one.request_id for one in results or () if hasattr(one, "receipt")]

    async def _steer_batch(self) -> None:
        """A person lets a batch wait, or go on: one that was sent, or one that is to come."""
        batch_id = f"{self._name}-{self._world.random.randint(1, self._batches + 1)}"
        if self._world.random.random() < 0.6:
            await self._until_through(
                lambda: verbs.pause_batch(LIMITS, batch_id, "simulated", self._name, None)
            )
        else:
            await self._until_through(lambda: verbs.resume_batch(LIMITS, batch_id, None))

    async def _plain(self) -> None:
        submission = Submission(self._request(), alias=True)
        self._world.tell(self._name, f"sends {submission.request.request_id} with plain Celery")
        self._broker.publish(StopMessage(submission.request.lane, submission))

    async def _cancel(self) -> None:
        if self._known:
            request_id = self._world.random.choice(self._known)
            await self._until_through(lambda: verbs.cancel(LIMITS, [request_id], self._name))

    async def _resume(self) -> None:
        await self._until_through(lambda: verbs.resumed(LIMITS, self._target(), None))

    async def _redrive(self) -> None:
        page = await self._until_through(lambda: verbs.dead_page(queries.DeadPlace()))
        letters = page[1][:2] if page else ()
        if letters:
            new_id = self._world.new_id
            await self._until_through(
                lambda: verbs.redrive(LIMITS, letters, self._name, new_id=new_id)
            )

    async def _release(self) -> None:
        """A person lets go what is held, drops it, or lets the guard begin anew."""
        place = HeldPlace("wi*")
        page = await self._until_through(lambda: verbs.held_page(place, 2))
        ids = [one.request_id for one in page.requests] if page else []
        verb = self._world.random.choice(
            [
                lambda: verbs.release(LIMITS, ids, None),
                lambda: verbs.discard_held(LIMITS, ids, self._name, None),
                lambda: verbs.reset_guard(LIMITS, "wi*", None),
            ]
        )
        if ids:
            await self._until_through(verb)

    # --- wishes -------------------------------------------------------------------------------

    def _target(self) -> Target:
        return Target("u", f"t{self._world.random.randrange(_TARGETS)}")

    def _request(self) -> StopRequest:
        random, now_us = self._world.random, self._world.server_us()
        target = self._target()
        issued_ago_s = random.choice([None, None, 0.0, 0.5, 5.0])
        if self._world.faults.clock_step:
            # How old an event is that was sent before a step, nobody can tell (test_clock.py).
            issued_ago_s = None
        lasts_s = random.choice([None, None, None, 2.0, 10.0])
        return StopRequest(
            user_id=target.user_id,
            task_id=target.task_id,
            lane=random.choice(list(Lane)),
            request_id=self._world.new_id(),
            source=random.choice(["calm", WILD, WILD]),
            issued_at=None
            if issued_ago_s is None
            else from_microseconds(now_us - round(issued_ago_s * 1_000_000)),
            not_after=None
            if lasts_s is None
            else from_microseconds(now_us + round(lasts_s * 1_000_000)),
        )

    # --- process ------------------------------------------------------------------------------

    async def _until_through(self, verb: Callable[[], Generator[verbs.Step, Any, T]]) -> T | None:
        """Run a verb until it has its result; after a crash or an outage from its beginning."""
        while True:
            process = Process(self._world, self._name)
            try:
                return await self._unless_it_dies(process, self._take(process, verb()))
            except (_CrashedError, UnavailableError) as error:
                self._world.tell(self._name, f"begins again ({type(error).__name__})")
                await self._world.pause(0.1, 1.0)
            except StoplineError as error:
                self._world.tell(self._name, f"is refused: {error}")
                return None

    async def _unless_it_dies(self, process: Process, taking: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(taking)
        died = asyncio.create_task(process.died.wait())
        await asyncio.wait([task, died], return_when=asyncio.FIRST_COMPLETED)
        if died.done():
            raise _CrashedError
        died.cancel()
        return task.result()

    async def _take(self, process: Process, verb: Generator[verbs.Step, Any, T]) -> T:
        connection = Connection(process, self._redis)
        result: Any = None
        while True:
            try:
                step = verb.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            await self._perhaps_die(process)
            match step:
                case verbs.Run(command) | verbs.Begin(command):
                    result = await connection.run(command)
                case verbs.Finish(begun):
                    result = begun
                case verbs.Dispatch(lane, request_ids):
                    process.tell(f"dispatches {request_ids}")
                    self._broker.publish(DispatchMessage(lane, request_ids))
                    result = True
            await self._perhaps_die(process)

    async def _perhaps_die(self, process: Process) -> None:
        if self._world.strikes("producer_crash"):
            process.die("between two steps")
            await process.boundary("")
