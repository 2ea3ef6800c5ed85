"""A receiver of callbacks on loopback: it fails, hangs, redirects, is gone, and counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import orjson
from standardwebhooks import Webhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def status(code: int, *heads: str) -> bytes:
    lines = [f"HTTP/1.1 {code} Said", *heads, "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


class Receiver:
    """Answers as it is told, by how often a callback came before."""

    def __init__(self, answer: Callable[[str, int], bytes | None] = lambda *_: OK) -> None:
        self._answer = answer
        self.came: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.bodies: list[dict[str, object]] = []
        self.heads: list[dict[str, str]] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(OSError, EOFError, ValueError):
                while await self._answer_one(reader, writer):
                    pass
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raw = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads = {
            name.lower(): value.strip()
            for name, _, value in (one.partition(":") for one in raw.splitlines()[1:] if one)
        }
        body = await reader.readexactly(int(heads["content-length"]))
        Webhook(SECRET).verify(body, heads)
        callback_id = heads["webhook-id"]
        reply = self._answer(callback_id, self.came[callback_id])
        self.came[callback_id] += 1
        self.heads.append(heads)
        self.bodies.append(orjson.loads(body))
        if reply is None:  # it hangs
            await asyncio.sleep(3600)
        elif not reply:
            return False
        else:
            self.delivered[callback_id] += reply.startswith(b"HTTP/1.1 2")
            writer.write(reply)
            await writer.drain()
        return True
