"""The listener of a client without an event loop: a thread with one, once somebody waits."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from stopline.client.async_listener import AsyncListener
from stopline.client.listening import closed
from stopline.errors import UnavailableError
from stopline.ledger import AsyncLedger, queries
from stopline.servers.connecting import connect_async

if TYPE_CHECKING:
    from stopline.client.listening import Found
    from stopline.ledger import Ledger
    from stopline.servers.redis_server import RedisServer

_CLOSE_S: Final = 2.0
_left_to_parents: Final[list[Any]] = []
"""What a child got from its parent: kept, since who collects a connection closes it."""


class Listener:
    """Waits for outcomes, for any number of threads."""

    def __init__(self, ledger: Ledger, server: RedisServer) -> None:
        self._ledger = ledger
        self._server = server
        self._starting = threading.Lock()
        self._thread: _ListenerThread | None = None
        self._pid = os.getpid()

    def wait(self, request_id: str, timeout_s: float | None) -> Found:
        """The outcome as soon as it is there, UNKNOWN where nobody knows it, OPEN in the end.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        look = queries.progress(request_id)
        found = self._ledger.run(look)
        if found is not queries.Progress.OPEN or timeout_s == 0:
            return found
        found = self._of_this_process().listen(request_id, timeout_s)
        return found if found is not queries.Progress.OPEN else self._ledger.run(look)

    def _of_this_process(self) -> _ListenerThread:
        if self._pid != os.getpid():  # the parent's thread is not here, and its lock may be held
            _left_to_parents.append((self._starting, self._thread))
            self._starting, self._thread = threading.Lock(), None
            self._pid = os.getpid()
        with self._starting:
            if self._thread is None:
                self._thread = _ListenerThread(self._server)
            return self._thread

    def close(self) -> None:
        """Listen no more; who still waits is told that the client was closed."""
        if self._thread is not None and self._pid == os.getpid():
            thread, self._thread = self._thread, None
            thread.close()


class _ListenerThread:
    """An event loop in a thread of its own, with a listener."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._loop: asyncio.AbstractEventLoop
        self._listener: AsyncListener
        self._stop: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main()), name="stopline-listener", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:
            raise UnavailableError(f"Nobody can wait: no thread can be started ({error})") from None
        self._ready.wait()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        ledger = AsyncLedger(connect_async(self._server))
        self._listener = AsyncListener(ledger)
        self._ready.set()
        await self._stop.wait()
        await self._listener.close()
        await ledger.close()

    def listen(self, request_id: str, timeout_s: float | None) -> Found:
        """As `AsyncListener.listen`."""
        listening = asyncio.run_coroutine_threadsafe(
            self._listener.listen(request_id, timeout_s), self._loop
        )
        try:
            return listening.result()
        except CancelledError:
            raise closed() from None
        finally:
            listening.cancel()  # where Ctrl-C ended the wait

    def close(self) -> None:
        """End the listener and its thread; a Redis that is silent is not waited for."""
        with suppress(RuntimeError):  # its loop has ended already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_CLOSE_S)
