"""How often a key may call: asked for in the ledger, so that all gateways share it.

Calls of one key that come while it is asked for wait for the next answer, together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from stopline_gateway.problems import Kind, Problem, retry_after

if TYPE_CHECKING:
    from stopline import AsyncStopClient
    from stopline.contract import Rate
    from stopline_gateway.access import Caller


class Rates:
    """Lets calls through, or says when to come back."""

    def __init__(self, client: AsyncStopClient) -> None:
        self._client = client
        self._queues: dict[str, _Queue] = {}

    async def take(self, caller: Caller) -> None:
        """Count one call; raises `Problem` where it is one too many."""
        if caller.rate is None:
            return
        name = caller.key_id or caller.name
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(self._client, name)
        try:
            retry_after_s = await queue.ask(caller.rate)
        finally:
            if queue.is_idle:
                self._queues.pop(name, None)
        if retry_after_s is not None:
            raise Problem(
                Kind.RATE,
                f"At most {caller.rate.per_s:g} calls a second, {caller.rate.burst} at once.",
                headers=retry_after(retry_after_s),
            )


class _Queue:
    """The calls of one key that wait for an answer."""

    def __init__(self, client: AsyncStopClient, name: str) -> None:
        self._client = client
        self._name = name
        self._waiting: deque[asyncio.Future[float | None]] = deque()
        self._asking: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        return not self._waiting and (self._asking is None or self._asking.done())

    async def ask(self, rate: Rate) -> float | None:
        """None where the call may go on; else in how many seconds one more may."""
        answer: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._answer(rate))
        return await answer

    async def _answer(self, rate: Rate) -> None:
        while self._waiting:
            some, self._waiting = self._waiting, deque()
            try:
                spent = await self._client.spend(self._name, rate, len(some))
            except Exception as error:  # noqa: BLE001  # each of them gets it
                for one in some:
                    if not one.done():
                        one.set_exception(error)
                continue
            for index, one in enumerate(some):
                if not one.done():
                    one.set_result(None if index < spent.granted else spent.retry_after_s)
