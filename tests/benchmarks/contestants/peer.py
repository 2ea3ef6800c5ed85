"""What the Python peers share: the call, and the command line.

A peer runs in an environment of its own, with its own library and httpx; nothing of Stopline.

    python saq_peer.py enqueue FIRST COUNT
    python saq_peer.py pace FIRST COUNT INTERVAL_MS
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

REDIS = os.environ["BENCH_REDIS_URL"]
BROKER = os.environ.get("BENCH_BROKER_URL", REDIS)
API = os.environ["BENCH_API_URL"]
CONNECTIONS = int(os.environ["BENCH_CONNECTIONS"])
QUEUE = os.environ["BENCH_QUEUE"]
ATTEMPTS = 8
RESULT_TTL_S = 3600
CALL_TIMEOUT_S = 20
BACKOFF_CAP_S = 60

_HEADERS = {"Authorization": "Bearer x", "Accept": "application/json"}
_LIMITS = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
_OK = 200


def job_id(n: int) -> str:
    """The id by which libraries that can know a job again."""
    return f"stop:{n}"


def _url(n: int) -> str:
    return f"{API}/agent-api/user/u/task_stop/{n}"


def _result(n: int, status: int, body: dict[str, Any]) -> dict[str, Any]:
    if status != _OK or body.get("code") != _OK or body.get("status") != "success":
        raise RuntimeError(f"HTTP {status}: {body}")
    return {"n": n, "code": body["code"]}


def new_client() -> httpx.Client:
    """A client for one process, which its threads may share."""
    return httpx.Client(headers=_HEADERS, limits=_LIMITS, timeout=CALL_TIMEOUT_S)


def call(client: httpx.Client, n: int) -> dict[str, Any]:
    """One stop."""
    reply = client.get(_url(n))
    return _result(n, reply.status_code, reply.json())


class AsyncCaller:
    """One stop after the other from an event loop, with httpx or (BENCH_HTTP) aiohttp."""

    def __init__(self) -> None:
        self._http = os.environ.get("BENCH_HTTP", "httpx")
        if self._http == "aiohttp":
            import aiohttp

            self._client: Any = aiohttp.ClientSession(
                headers=_HEADERS,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                timeout=aiohttp.ClientTimeout(CALL_TIMEOUT_S),
            )
        else:
            self._client = httpx.AsyncClient(
                headers=_HEADERS, limits=_LIMITS, timeout=CALL_TIMEOUT_S
            )

    async def call(self, n: int) -> dict[str, Any]:
        if self._http == "aiohttp":
            async with self._client.get(_url(n)) as reply:
                return _result(n, reply.status, await reply.json())
        reply = await self._client.get(_url(n))
        return _result(n, reply.status_code, reply.json())

    async def close(self) -> None:
        await (self._client.close() if self._http == "aiohttp" else self._client.aclose())


def _tell(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")


def main(session: Callable[[], AbstractContextManager[Callable[[int], object]]]) -> None:
    """The command line of a peer that enqueues one job a call."""
    command, first, count, *rest = sys.argv[1:]
    numbers = range(int(first), int(first) + int(count))
    with session() as enqueue:
        if command == "enqueue":
            started = time.perf_counter()
            for n in numbers:
                enqueue(n)
            _tell({"count": len(numbers), "seconds": time.perf_counter() - started})
            return
        sent = []
        for n in numbers:
            time.sleep(float(rest[0]) / 1000)
            sent.append([n, time.monotonic_ns()])
            enqueue(n)
        _tell(sent)


async def main_async(
    session: Callable[
        [], AbstractAsyncContextManager[Callable[[Sequence[int]], Awaitable[object]]]
    ],
) -> None:
    """The command line of a peer that enqueues many jobs a call."""
    command, first, count, *rest = sys.argv[1:]
    numbers = range(int(first), int(first) + int(count))
    async with session() as enqueue:
        if command == "enqueue":
            started = time.perf_counter()
            await enqueue(numbers)
            _tell({"count": len(numbers), "seconds": time.perf_counter() - started})
            return
        sent = []
        for n in numbers:
            await asyncio.sleep(float(rest[0]) / 1000)
            sent.append([n, time.monotonic_ns()])
            await enqueue([n])
        _tell(sent)
