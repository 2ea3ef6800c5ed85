"""Fake clients: the real verbs on the ledger of a `World`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import fakeredis

from stopline.client import verbs
from stopline.client.async_client import AsyncStopClient, Wire
from stopline.client.sync_client import StopClient
from stopline.client.sync_gathering import Gathering
from stopline.contract import Lane
from stopline.ledger import AsyncLedger
from stopline.testing.world import World, source

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import DeadMessage, Outcome
    from stopline.ledger.queries import Progress
    from stopline.ledger.stream import Stream
    from stopline.ledger.values import Command


class FakeStopClient(StopClient):
    """A `StopClient` whose world is in memory: see `stopline.testing`.

    `wait` lets virtual time pass until the outcome is there.

    Args:
        world: what it shares with other clients; one of its own if left out.
    """

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self._limits = self.world.limits
        self._ledger = self.world.ledger
        self._publisher = _Messages(self.world)
        self._gathering = Gathering(self._submit)
        self._listener = _Waiting(self.world)

    def _step(self, step: verbs.Step, stream: Stream) -> Any:
        match step:  # nothing is sent ahead: each command has a moment of its own
            case verbs.Begin(command):
                return self._ledger.run(command)
            case verbs.Finish(begun):
                return begun
            case _:
                return super()._step(step, stream)

    def close(self) -> None:
        """There is nothing to close: the world goes on."""


class AsyncFakeStopClient(AsyncStopClient):
    """The same for asyncio."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self._limits = self.world.limits
        self._made = None
        self._gathering = None

    async def _wire(self) -> Wire:
        if self._made is None:
            ledger = _WorldsAsyncLedger(self.world)
            messages, waiting = _AsyncMessages(self.world), _AsyncWaiting(self.world)
            self._made = Wire(os.getpid(), ledger, waiting, messages)
        return self._made

    async def close(self) -> None:
        """There is nothing to close: the world goes on."""


class _WorldsAsyncLedger(AsyncLedger):
    """The ledger of a world, for asyncio."""

    def __init__(self, world: World) -> None:
        super().__init__(fakeredis.FakeAsyncRedis(server=world.server), source=source)
        self._world = world

    async def run(self, command: Command[T]) -> T:
        self._world.step(command)
        return await super().run(command)


class _Messages:
    """In a publisher's place: the worker of the world gets what it would send."""

    def __init__(self, world: World) -> None:
        self._world = world

    def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> bool:
        assert isinstance(lane, Lane)  # noqa: S101  # a double is as strict as what it stands for
        self._world.dispatch(request_ids)
        return True

    def republish(self, message: DeadMessage) -> None:
        self._world.republished.append(message)

    def close(self) -> None:
        pass


class _AsyncMessages:
    def __init__(self, world: World) -> None:
        self._messages = _Messages(world)

    async def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> bool:
        return self._messages.dispatch(lane, request_ids)

    async def republish(self, message: DeadMessage) -> None:
        self._messages.republish(message)

    async def close(self) -> None:
        pass


class _Waiting:
    """In a listener's place: time passes while somebody waits."""

    def __init__(self, world: World) -> None:
        self._world = world

    def wait(self, request_id: str, timeout_s: float | None) -> Outcome | Progress:
        return self._world.wait(request_id, timeout_s)

    def close(self) -> None:
        pass


class _AsyncWaiting:
    def __init__(self, world: World) -> None:
        self._world = world

    async def wait(self, request_id: str, timeout_s: float | None) -> Outcome | Progress:
        return self._world.wait(request_id, timeout_s)

    async def close(self) -> None:
        pass
