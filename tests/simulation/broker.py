"""The simulated broker: it loses, repeats, delays and so reorders messages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stopline.contract import Lane
    from stopline.ledger.values import Submission
    from tests.simulation.world import World

_AGAIN_S = 0.3


@dataclass(frozen=True, slots=True)
class DispatchMessage:
    """Request ids, as `stopline.dispatch` carries them."""

    lane: Lane
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopMessage:
    """A whole request, as `stopline.stop` of plain Celery carries it."""

    lane: Lane
    submission: Submission


Message = DispatchMessage | StopMessage


class Consumer(Protocol):
    """A worker that takes messages."""

    def serves(self, lane: Lane) -> bool:
        """Whether it takes messages of a lane now."""

    async def handle(self, message: Message) -> None:
        """Do what the message asks for."""


class Broker:
    """A queue per lane, without promises."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.consumers: list[Consumer] = []
        self._handling: dict[asyncio.Task[None], None] = {}

    def publish(self, message: Message) -> None:
        """Take a message; what becomes of it is up to chance."""
        world = self._world
        if world.strikes("message_lost"):
            world.tell("broker", f"loses {message}")
            return
        for _ in range(2 if world.strikes("message_repeated") else 1):
            late = world.strikes("message_late")
            self._deliver_in(message, world.random.uniform(0.5, 4) if late else 0.001)

    def _deliver_in(self, message: Message, delay_s: float) -> None:
        asyncio.get_running_loop().call_later(delay_s, self._deliver, message)

    def _deliver(self, message: Message) -> None:
        ready = [one for one in self.consumers if one.serves(message.lane)]
        if not ready:
            self._deliver_in(message, _AGAIN_S)
            return
        task = asyncio.create_task(self._world.random.choice(ready).handle(message))
        self._handling[task] = None
        task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        del self._handling[task]
        if not task.cancelled() and (error := task.exception()):
            self._world.fail(error)
