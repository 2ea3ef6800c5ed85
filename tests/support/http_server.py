"""A server on loopback that answers as a test says, and how a test asks it with an HTTP client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from stopline_worker.upstream.http_client import HttpClient, Timeouts
from stopline_worker.upstream.httpx_client import HttpxClient
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from stopline_worker.upstream.reqwest_client import ReqwestClient

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    Make = Callable[..., HttpClient]

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HEADERS = {"Authorization": "Bearer t", "Accept-Encoding": "identity", "User-Agent": "stopline"}
TIMEOUTS = Timeouts(connect_s=5, read_s=5, total_s=5)
CLIENTS: dict[str, Make] = {"httpx": HttpxClient, "reqwest": ReqwestClient}


def answering(raw: bytes, *, then: str = "close") -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
            if then == "hang":
                await reader.read()
            elif then == "close":
                writer.close()
                await writer.wait_closed()

    return answer


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    answering: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.transport.abort()

    def take_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(take_in, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close in the loop's next round


async def get(client: HttpClient, url: str) -> Reply | NoReply:
    try:
        return await client.get(url, HEADERS)
    finally:
        await client.close()


async def ask_of(client: HttpClient, answer: Answer, path: str = "/x") -> Reply | NoReply:
    async with serving(answer) as port:
        return await get(client, f"http://127.0.0.1:{port}{path}")


def ask_with(make: Make, answer: Answer, *, total_s: float = 5.0) -> Reply | NoReply:
    async def ask() -> Reply | NoReply:
        timeouts = Timeouts(connect_s=5, read_s=min(5.0, total_s), total_s=total_s)
        return await ask_of(make(timeouts), answer)

    return asyncio.run(ask())


def error_kind(result: Reply | NoReply) -> CallErrorKind:
    assert isinstance(result, NoReply)
    assert result.message
    return result.kind
