"""A TCP proxy of the tests' own: it passes, cuts, refuses, holds back and slows connections."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine

_CHUNK = 65536


class Mode(StrEnum):
    """What happens to bytes."""

    PASS = "pass"
    HOLE = "hole"
    """Nothing passes, in either direction; no end sees why."""
    HOLE_TO_SERVER = "hole to the server"
    HOLE_TO_CLIENT = "hole to the client"
    SLOW = "slow"
    REFUSE = "refuse"
    """New connections are reset; those there are stay."""


_HOLDS = {
    Mode.HOLE: {"to server", "to client"},
    Mode.HOLE_TO_SERVER: {"to server"},
    Mode.HOLE_TO_CLIENT: {"to client"},
}
_SLOW_S = 0.15


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.mode: Mode | None = None
        """What happens to this one, where it is not the proxy's mode."""
        self.to_client_left: int | None = None
        """How many bytes still reach the client before this one goes silent; None: no limit."""

    def allowed(self, data: bytes, way: str) -> bytes:
        """What passes of some bytes; when the allowance is used up, the link holds the rest."""
        if self.to_client_left is None or way != "to client":
            return data
        passed = data[: self.to_client_left]
        self.to_client_left -= len(passed)
        if len(passed) < len(data):
            self.mode = Mode.HOLE
        return passed

    def abort(self) -> None:
        for end in (self.client, self.server):
            end.transport.abort()


class Proxy:
    """Listens on a port of its own for a server on this machine; runs in a thread."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._mode = Mode.PASS
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._changed: asyncio.Event
        self._over: asyncio.Event
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready: Future[int] = Future()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    # --- faults -------------------------------------------------------------------------------

    def set(self, mode: Mode) -> None:
        """Let this happen to all connections from now on; what was held back passes with PASS."""
        self._call(self._set(mode, None))

    def hold_existing(self) -> None:
        """Let nothing pass on the connections there are, for ever; new ones work."""
        self._call(self._set(self._mode, Mode.HOLE))

    def hold_existing_after(self, to_client: int) -> None:
        """Let the connections there are go silent once so many more bytes reached the client."""
        self._call(self._allow(to_client))

    def cut(self) -> None:
        """Reset all connections."""
        self._call(self._cut())

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _set(self, mode: Mode, existing: Mode | None) -> None:
        self._mode = mode
        if existing is not None:
            for link in self._links:
                link.mode = existing
        self._wake()

    async def _allow(self, to_client: int) -> None:
        for link in self._links:
            link.to_client_left = to_client

    async def _cut(self) -> None:
        for link in tuple(self._links):
            link.abort()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        # What dies with a cut connection is nobody's business.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._loop.run_until_complete(self._listen())
        self._loop.close()

    async def _listen(self) -> None:
        self._changed, self._over = asyncio.Event(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._ready.set_result(server.sockets[0].getsockname()[1])
        await self._over.wait()
        server.close()
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.REFUSE:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, up_writer)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(link, reader, up_writer, "to server"),
                self._pump(link, up_reader, writer, "to client"),
            )
        except OSError:
            pass
        finally:
            link.abort()
            self._links.discard(link)

    async def _pump(
        self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str
    ) -> None:
        while data := await source.read(_CHUNK):
            while way in _HOLDS.get(link.mode or self._mode, ()):
                await self._changed.wait()
            if self._mode is Mode.SLOW:
                await asyncio.sleep(_SLOW_S)
            sink.write(link.allowed(data, way))
            await sink.drain()
        sink.close()
