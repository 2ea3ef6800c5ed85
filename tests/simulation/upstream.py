"""The simulated API: slow, failing, refusing, and ambiguous (it stopped, but nobody heard)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stopline_worker.upstream.api_token import Credential
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline.contract import Target
    from tests.simulation.process import Process
    from tests.simulation.world import World

CALL_TIMEOUT_S: Final = 1.0
_SUCCESS: Final = Reply(200, b'{"status":"success","code":200}')
_PASSING: Final = (
    Reply(500),
    Reply(503),
    Reply(401),
    Reply(429, retry_after="1"),
    Reply(200, b'{"status":"error","code":500}'),
    Reply(200, b"<html>"),
    NoReply(CallErrorKind.CONNECT, "simulated"),
)
TROUBLES: Final = (
    Reply(401),
    Reply(403),
    Reply(503),
    Reply(503, retry_after="2"),
    Reply(429, retry_after="1"),
    NoReply(CallErrorKind.CONNECT, "simulated"),
)
"""What an API answers everybody that refuses the token, is away, or has too much to do."""
_FINAL: Final = (Reply(404), Reply(400), Reply(302), Reply(200, b'{"status":"error","code":404}'))


@dataclass(slots=True, eq=False)
class Call:
    """A call that some process has in flight."""

    target: str
    process: Process
    began_us: int
    """In truth."""
    began_ledger_us: int
    """By the ledger's clock."""


class Upstream:
    """The API: what it was asked, and when a call that it answered with success began."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.successes: defaultdict[str, list[int]] = defaultdict(list)
        self.in_flight: dict[Call, None] = {}
        self.poison: set[str] = set()
        self.troubled_by: Reply | NoReply | None = None
        """What it answers everybody for a while."""
        self.on_begin: Callable[[Call, bool], None] = lambda _call, _froze: None

    async def call(self, process: Process, target: str) -> Reply | NoReply:
        """One call by a process."""
        froze = await process.boundary(f"before the call for {target}")
        call = Call(target, process, self._world.now_us(), self._world.ledger_us())
        self.in_flight[call] = None
        self._world.counts["calls"] += 1
        process.tell(f"calls for {target}")
        try:
            self.on_begin(call, froze)
        except Exception as error:  # noqa: BLE001  # the engine would survive it
            self._world.fail(error)
        if target in self.poison:
            process.die(f"of {target}, which is poison")
        try:
            reply = await self._answer(call)
        finally:
            del self.in_flight[call]
        await process.boundary(f"after the call for {target}")
        process.tell(f"hears {_word(reply)} for {target}")
        return reply

    async def _answer(self, call: Call) -> Reply | NoReply:
        world = self._world
        await world.pause(0.005, 0.2)
        if self.troubled_by is not None:
            return self.troubled_by
        if world.strikes("call_slow"):
            await asyncio.sleep(CALL_TIMEOUT_S)
            return NoReply(CallErrorKind.TIMEOUT, "simulated")
        if world.strikes("call_failed"):
            return world.random.choice(_PASSING)
        if world.strikes("call_refused"):
            return world.random.choice(_FINAL)
        if world.strikes("call_ambiguous"):
            return NoReply(CallErrorKind.READ, "simulated: it stopped, and the reply was lost")
        self.successes[call.target].append(call.began_us)
        return _SUCCESS


class ApiOf:
    """The API as one process reaches it: what `Api` asks for."""

    def __init__(self, process: Process, upstream: Upstream) -> None:
        self._process = process
        self._upstream = upstream

    async def call(self, target: Target, _credential: object) -> Reply | NoReply:
        """One call."""
        return await self._upstream.call(self._process, str(target))


class NoToken:
    """A token that never changes."""

    credential = Credential("simulated")

    def reread(self) -> None:
        """There is nothing to read."""


def _word(reply: Reply | NoReply) -> str:
    return str(reply.status) if isinstance(reply, Reply) else f"no reply ({reply.kind})"
