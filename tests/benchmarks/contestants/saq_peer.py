"""SAQ with keys, retries and backoff (https://saq-py.readthedocs.io)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop
from peer import (
    ATTEMPTS,
    BACKOFF_CAP_S,
    CALL_TIMEOUT_S,
    CONNECTIONS,
    QUEUE,
    REDIS,
    RESULT_TTL_S,
    AsyncCaller,
    job_id,
    main_async,
)
from saq import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

_CHUNK = 500

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
queue = Queue.from_url(REDIS, name=QUEUE)


async def _startup(context: dict[str, Any]) -> None:
    context["caller"] = AsyncCaller()


async def _shutdown(context: dict[str, Any]) -> None:
    await context["caller"].close()


async def stop(context: dict[str, Any], *, n: int) -> dict[str, Any]:
    result: dict[str, Any] = await context["caller"].call(n)
    return result


settings = {
    "queue": queue,
    "functions": [stop],
    "concurrency": CONNECTIONS,
    "startup": _startup,
    "shutdown": _shutdown,
}


async def _enqueue(numbers: Sequence[int]) -> None:
    for first in range(0, len(numbers), _CHUNK):
        await asyncio.gather(
            *(
                queue.enqueue(
                    "stop",
                    n=n,
                    key=job_id(n),
                    retries=ATTEMPTS,
                    retry_delay=1.0,
                    retry_backoff=float(BACKOFF_CAP_S),
                    ttl=RESULT_TTL_S,
                    timeout=CALL_TIMEOUT_S + 10,
                )
                for n in numbers[first : first + _CHUNK]
            )
        )


@asynccontextmanager
async def _session() -> AsyncIterator[Callable[[Sequence[int]], Awaitable[object]]]:
    await queue.connect()
    await queue.redis.ping()
    yield _enqueue
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(main_async(_session))
