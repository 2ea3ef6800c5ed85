"""One subscription for all tasks that wait for outcomes through one client."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from stopline.client.listening import IDLE_S, LOOK_AGAIN_S, Waiters, closed, heard
from stopline.contract import Outcome
from stopline.errors import StoplineError
from stopline.ledger import keys, queries
from stopline.ledger.executors import translated

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

    from stopline.ledger import AsyncLedger

Found = Outcome | queries.Progress


class AsyncListener:
    """Waits for outcomes on one event loop. A task of its own listens while anybody waits."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._waiters: Waiters[asyncio.Future[Found]] = Waiters()
        self._channel: PubSub | None = None
        self._task: asyncio.Task[None] | None = None
        self._subscribing = asyncio.Lock()

    async def wait(self, request_id: str, timeout_s: float | None) -> Found:
        """The outcome as soon as it is there, UNKNOWN where nobody knows it, OPEN in the end.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        look = queries.progress(request_id)
        found = await self._ledger.run(look)
        if found is not queries.Progress.OPEN or timeout_s == 0:
            return found
        ticket: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._join(request_id, ticket)
                    return await ticket
        finally:
            await self._leave(request_id, ticket)
        return await self._ledger.run(look)

    async def _join(self, request_id: str, ticket: asyncio.Future[Found]) -> None:
        is_first = self._waiters.add(request_id, ticket)
        with translated():
            async with self._subscribing:
                channel = self._channel = self._channel or self._ledger.client.pubsub()
                if is_first:  # the listener looks when the subscription has begun
                    await channel.subscribe(keys.result(request_id))
                if self._task is None and self._channel is channel:
                    self._task = asyncio.create_task(self._listen(channel))
        if not is_first:
            await self._look([request_id])

    async def _leave(self, request_id: str, ticket: asyncio.Future[Found]) -> None:
        if not ticket.cancel() and not ticket.cancelled():
            ticket.exception()  # looked at, should nobody else
        if self._waiters.remove(request_id, ticket) and self._channel is not None:
            # Whoever waits has what it waited for; a connection that is gone is seen by the others.
            with suppress(StoplineError), translated():
                await self._channel.unsubscribe(keys.result(request_id))

    async def _listen(self, channel: PubSub) -> None:
        try:
            # A timeout of Redis is an error here; that of a waiter comes as its cancellation.
            with translated():
                await self._listen_while_needed(channel)
        except Exception as error:  # noqa: BLE001  # whoever waits is told, whatever it is
            self._waiters.fail(error)
        finally:
            self._task = self._channel = None
            self._waiters.fail(closed())  # those that have nothing yet
            await channel.aclose()

    async def _listen_while_needed(self, channel: PubSub) -> None:
        loop = asyncio.get_running_loop()
        looked_at = waited_at = loop.time()
        while self._waiters or loop.time() - waited_at < IDLE_S:
            told = heard(await channel.get_message(timeout=LOOK_AGAIN_S))
            if told is not None:
                await self._learn(*told)
            if loop.time() - looked_at >= LOOK_AGAIN_S:
                looked_at = loop.time()
                for ids in self._waiters.chunks():
                    await self._look(ids)
            if self._waiters:
                waited_at = loop.time()

    async def _learn(self, request_id: str, outcome: Outcome | None) -> None:
        if outcome is None:
            await self._look([request_id])
        else:
            self._waiters.resolve([request_id], [outcome])

    async def _look(self, request_ids: list[str]) -> None:
        found = await self._ledger.run(queries.progress_of(request_ids))
        self._waiters.resolve(request_ids, found)

    async def close(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
