"""The ledger of the simulation: the real scripts on a real or a fake Redis, over a bad network."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import fakeredis
import redis

from stopline.contract import Lane
from stopline.errors import UnavailableError
from stopline.ledger import Ledger, keys, scripts

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline.ledger.values import Command
    from tests.simulation.process import Process
    from tests.simulation.world import World

T = TypeVar("T")

_READS_TIME = "redis.call('TIME')"
_READS_OPTIONS = "{string.sub(options.simulated_us, 1, -7), string.sub(options.simulated_us, -6)}"
_TIMEOUT_S = 0.5
_RETRIES = 3
"""As redis-py does: a command whose reply does not come is sent again (stopline.ledger)."""


class LedgerServer:
    """A Redis with the ledger's scripts, whose time is the world's.

    Args:
        url: of a real server; None: fakeredis.
        mutate: breaks a script on purpose: name and text to text.
    """

    def __init__(
        self, url: str | None = None, *, mutate: Callable[[str, str], str] | None = None
    ) -> None:
        self._fake = None if url else fakeredis.FakeServer()
        self.client: redis.Redis = (
            redis.Redis.from_url(url) if url else fakeredis.FakeRedis(server=self._fake)
        )
        self._mutate = mutate or (lambda _name, text: text)
        self._ledger = Ledger(self.client, source=self._source)

    def _source(self, name: str) -> str:
        text = scripts.source(name, flags=not self._fake)
        mutated = self._mutate(name, text.replace(_READS_TIME, _READS_OPTIONS))
        return _compiled_once(mutated) if self._fake else mutated

    def run(self, command: Command[T], now_us: int) -> T:
        """Run one command at a virtual time."""
        if command.is_script:
            options, *rest = command.arguments
            assert isinstance(options, bytes)
            members = options[1:] if options == b"{}" else b"," + options[1:]
            timed = b'{"simulated_us":"%d"' % now_us + members
            command = replace(command, arguments=(timed, *rest))
        return self._ledger.run(command)

    def given_us(self) -> int:
        """What the ledger's clock gave last."""
        if self._fake:
            found = self._fake.dbs[0].get(keys.CLOCK.encode())
            raw = found.value if found else b"0"
        else:
            raw = self.client.get(keys.CLOCK) or b"0"
        return int(raw.split()[0])

    def hash(self, name: str) -> dict[bytes, bytes]:
        """A hash, whole."""
        if self._fake:
            found = self._fake.dbs[0].get(name.encode())
            return dict(found.value.items()) if found else {}
        fields: dict[bytes, bytes] = self.client.hgetall(name)
        return fields

    def look(self, names: list[str]) -> tuple[list[bytes | None], list[bytes]]:
        """The values of some keys, and all ids that are due in any lane."""
        if self._fake:  # past its parser of commands: this is done after every step
            items = self._fake.dbs[0]
            values = [items.get(name.encode()) for name in names]
            dues = [items.get(keys.due(lane).encode()) for lane in Lane]
            return (
                [one and one.value for one in values],
                [member for one in dues if one for member in one.value],
            )
        pipe = self.client.pipeline(transaction=False)
        pipe.mget(names) if names else pipe.echo("")
        for lane in Lane:
            pipe.zrange(keys.due(lane), 0, -1)
        found, *due = pipe.execute()
        return (found if names else []), [member for members in due for member in members]


def _compiled_once(text: str) -> str:
    """The same script for fakeredis, which would else compile all of it at each call."""
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return (
        f"local run = redis['{name}'] "
        f"if not run then run = assert(loadstring([==[{text}]==])) redis['{name}'] = run "
        # fakeredis collects all garbage after each script; Lua does it in time by itself.
        "collectgarbage = function() end end "
        "return run()"
    )


class Watcher(Protocol):
    """Who looks at each command that the server ran."""

    def ran(
        self, actor: str, command: Command[Any], reply: Any, true_us: int, ledger_us: int
    ) -> None:
        """A command ran; raises `BrokenError` where an invariant does not hold."""


class SimulatedRedis:
    """The server as the world sees it: it may be down for a while."""

    def __init__(self, world: World, server: LedgerServer, watcher: Watcher) -> None:
        self._world = world
        self._server = server
        self._watcher = watcher
        self.is_down = False

    def run(self, actor: str, command: Command[T]) -> T:
        """Run a command that has arrived."""
        if self.is_down:
            raise UnavailableError("simulated: Redis is down")
        true_us = self._world.script_us()
        reply = self._server.run(command, self._world.script_on_server_us(true_us))
        self._world.counts["redis steps"] += 1
        if command.is_script:
            try:
                ledger_us = self._server.given_us()
                self._world.learn_ledger_time(ledger_us, true_us)
                self._watcher.ran(actor, command, reply, true_us, ledger_us)
            except Exception as error:  # noqa: BLE001  # the engine would survive it
                self._world.fail(error)
        return reply


class Connection:
    """A process's way to the ledger: what `Records` asks for, with every fault on the way."""

    def __init__(self, process: Process, redis_: SimulatedRedis) -> None:
        self._process = process
        self._world = process.world
        self._redis = redis_

    async def run(self, command: Command[T]) -> T:
        """Run one command as redis-py does: sent again when its reply does not come."""
        await self._process.boundary(f"before {command.name}")
        for _ in range(_RETRIES + 1):
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    reply = await self._send(command)
            except TimeoutError:
                self._process.tell(f"{command.name}: no reply")
                continue
            self._process.heard_at = self._world.monotonic()
            await self._process.boundary(f"after {command.name}")
            return reply
        await self._process.boundary(f"after {command.name}, in vain")
        raise UnavailableError("simulated: no reply")

    async def _send(self, command: Command[T]) -> T:
        world = self._world
        if world.strikes("command_lost"):
            return await world.for_ever()
        if world.strikes("command_late"):
            world_loop = asyncio.get_running_loop()
            world_loop.call_later(world.random.uniform(1, 6), self._arrive_late, command)
            return await world.for_ever()
        await world.pause(0.0001, 0.002)
        if self._redis.is_down:
            return await world.for_ever()
        reply = self._redis.run(self._process.name, command)
        if world.strikes("reply_lost"):
            return await world.for_ever()
        await world.pause(0.0001, 0.002)
        return reply

    def _arrive_late(self, command: Command[Any]) -> None:
        if not (self._redis.is_down or self._world.over):
            self._process.tell(f"{command.name} arrives late")
            self._redis.run(self._process.name, command)
