"""One subscription for all who wait for outcomes through one client.

The channel of an outcome is its key in the results backend, and the message its value. One task
owns the subscription and its connection, which is none of the ledger's pool; who waits only says
for what, and wakes it. The subscription is the fast way: what is waited for is also looked at once
a second, all of it at once, so that a connection that is cut or silent costs a second, no more.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from stopline.client.listening import Found, Waiters, chunked, closed, heard
from stopline.errors import UnavailableError
from stopline.ledger import keys, queries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from redis.asyncio.connection import AbstractConnection

    from stopline.ledger import AsyncLedger

_log = logging.getLogger(__name__)
LOOK_AGAIN_S: Final = 1.0
"""How long a waiter trusts the subscription before somebody looks."""
_AGAIN_S: Final = 0.1
"""How long nobody is subscribed after an error."""
_CLOSE_S: Final = 1.0
_IDLE_S: Final = 10.0
"""How long the subscription stays when nobody waits."""


class AsyncListener:
    """Waits for outcomes on one event loop."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._waiters = Waiters()
        self._fresh: set[str] = set()
        """Those to be looked at as soon as they are subscribed to."""
        self._changed = asyncio.Event()
        self._is_closed = False
        self._looks: set[asyncio.Task[Found]] = set()
        self._owner: asyncio.Task[None] | None = None
        self._subscription = _Subscription(ledger)

    async def wait(self, request_id: str, timeout_s: float | None) -> Found:
        """The outcome as soon as it is there, UNKNOWN where nobody knows it, OPEN in the end.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        began = asyncio.get_running_loop().time()
        found = await self._look_once(request_id)
        if found is not queries.Progress.OPEN:
            return found
        took_s = asyncio.get_running_loop().time() - began
        left_s = None if timeout_s is None else max(0.0, timeout_s - took_s)
        found = await self.listen(request_id, left_s)
        return found if found is not queries.Progress.OPEN else await self._look_once(request_id)

    async def _look_once(self, request_id: str) -> Found:
        """A look that goes on by itself where its waiter gives up.

        redis-py may lose a cancellation that comes as its reply does (before Python 3.12).
        """
        look = asyncio.create_task(self._ledger.run(queries.progress(request_id)))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)
        return await asyncio.shield(look)

    async def listen(self, request_id: str, timeout_s: float | None) -> Found:
        """The same without a look at the beginning and at the end."""
        if self._is_closed:
            raise closed()
        ticket: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiters.add(request_id, ticket)
        self._fresh.add(request_id)
        self._wake_owner()
        try:
            # Nothing of Redis is asked under this timeout: a call that is cancelled may hang.
            done, _ = await asyncio.wait({ticket}, timeout=timeout_s)
        finally:
            self._waiters.remove(request_id, ticket)
            self._changed.set()
        return ticket.result() if done else queries.Progress.OPEN

    def _wake_owner(self) -> None:
        self._changed.set()
        if self._owner is None or self._owner.done():
            self._owner = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Listen no more; who still waits is told that the client was closed."""
        self._is_closed = True
        owner, self._owner = self._owner, None
        self._waiters.fail(self._waiters.wanted, closed())
        self._changed.set()
        await _all_ended(self._looks | ({owner} if owner is not None else set()))
        await self._subscription.drop()

    # --- the owner ----------------------------------------------------------------------------

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        looked_at = waited_at = loop.time()
        while not self._is_closed and (self._waiters or loop.time() - waited_at < _IDLE_S):
            try:
                await self._subscription.want(self._waiters)
                message = await self._subscription.next(self._changed, LOOK_AGAIN_S)
            except Exception as error:  # noqa: BLE001  # whatever it is, looks go on
                _log.debug("not subscribed: %r", error, extra={"action": "listen_failed"})
                await self._subscription.drop()
                message = None
                await asyncio.sleep(_AGAIN_S)
            self._changed.clear()
            to_look_at = self._learn(message)
            if loop.time() - looked_at >= LOOK_AGAIN_S:
                looked_at, to_look_at = loop.time(), self._waiters.wanted
            await self._look(to_look_at)
            if self._waiters:
                waited_at = loop.time()
        await self._subscription.drop()

    def _learn(self, message: Any) -> set[str]:
        """Tell who waits of what a message says; which requests are to be looked at."""
        known = {one for one in self._fresh if self._subscription.has(one)}
        self._fresh -= known
        told = heard(message)
        if told is not None:
            request_id, outcome = told
            if outcome is None:
                known.add(request_id)
            else:
                self._waiters.resolve([request_id], [outcome])
        return {one for one in known if one in self._waiters}

    async def _look(self, request_ids: Iterable[str]) -> None:
        for ids in chunked(request_ids):
            try:
                found = await self._ledger.run(queries.progress_of(ids))
            except Exception as error:  # noqa: BLE001  # whoever waits for these is told
                await self._look_singly(ids, error)
            else:
                self._waiters.resolve(ids, found)

    async def _look_singly(self, request_ids: list[str], error: Exception) -> None:
        """Find the one that cannot be read, so that it spoils no other."""
        if len(request_ids) == 1 or isinstance(error, OSError | UnavailableError):
            self._waiters.fail(request_ids, error)
            return
        for one in request_ids:
            await self._look([one])


class _Subscription:
    """A connection that is subscribed to outcomes. Of one task."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._connection: AbstractConnection | None = None
        self._subscribed: set[str] = set()
        self._reading: asyncio.Task[Any] | None = None

    def has(self, request_id: str) -> bool:
        """Whether it was subscribed to."""
        return request_id in self._subscribed

    async def want(self, waiters: Waiters) -> None:
        """Subscribe to what is waited for, and to nothing else; raises what redis-py does."""
        added, removed = waiters.changes()
        if self._connection is None:
            added, removed = waiters.wanted, set()
        await self._say("SUBSCRIBE", added - self._subscribed)
        await self._say("UNSUBSCRIBE", removed & self._subscribed)
        self._subscribed |= added
        self._subscribed -= removed

    async def _say(self, word: str, request_ids: set[str]) -> None:
        if request_ids:
            connection = await self._connected()
            channels = [keys.result(one) for one in request_ids]
            # A health check would wait for its reply, which the reader takes.
            await connection.send_command(word, *channels, check_health=False)

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = self._ledger.client.connection_pool.make_connection()
            await self._connection.connect()
        return self._connection

    async def next(self, changed: asyncio.Event, timeout_s: float) -> Any:
        """The next message, or None when something else happened or the time is over."""
        if self._connection is None:
            await _happens(changed, timeout_s)
            return None
        if self._reading is None:
            self._reading = asyncio.create_task(self._connection.read_response(timeout=math.inf))
        change = asyncio.create_task(changed.wait())
        try:
            await asyncio.wait(
                {self._reading, change}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            change.cancel()
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    async def drop(self) -> None:
        """End the subscription, without a word to the server."""
        connection, reading = self._connection, self._reading
        self._connection = self._reading = None
        self._subscribed = set()
        if reading is not None:
            reading.cancel()
        if connection is not None:
            # First, since who waits for the reader may wait long: redis-py may lose a cancellation,
            # and who is cancelled meanwhile leaves the connection open.
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
        if reading is not None:
            await asyncio.wait({reading}, timeout=_CLOSE_S)
            if reading.done() and not reading.cancelled():
                reading.exception()  # looked at, since nobody else will


async def _all_ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait until tasks end: by themselves, or because they are told to.

    Whoever asks Redis when the ledger is closed connects again, and nobody closes that connection.
    What redis-py holds up longer, or loses of a cancellation, is not waited for.
    """
    late = set(tasks)
    for is_told in (False, True):
        if not late:
            return
        for task in late if is_told else ():
            task.cancel()
        _, late = await asyncio.wait(late, timeout=_CLOSE_S)


async def _happens(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
