"""streaQ with task ids and StreaqRetry (https://streaq.readthedocs.io)."""

from __future__ import annotations

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
from streaq import StreaqRetry, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

_CHUNK = 1000


@asynccontextmanager
async def _lifespan() -> AsyncIterator[AsyncCaller]:
    caller = AsyncCaller()
    try:
        yield caller
    finally:
        await caller.close()


worker = Worker(
    redis_url=REDIS,
    queue_name=QUEUE,
    concurrency=CONNECTIONS,
    lifespan=_lifespan,
    grace_period=10,
    anyio_kwargs={"use_uvloop": True},
)


@worker.task(
    name="stop", max_tries=ATTEMPTS, ttl=RESULT_TTL_S, timeout=CALL_TIMEOUT_S + 10, silent=True
)
async def stop(n: int) -> dict[str, Any]:
    try:
        return await worker.context.call(n)
    except Exception as error:
        tries = stop.context.tries
        if tries >= ATTEMPTS:
            raise
        raise StreaqRetry(str(error), delay=min(BACKOFF_CAP_S, 2 ** (tries - 1))) from error


def _job(n: int) -> Any:
    task = stop.enqueue(n)
    task.id = job_id(n)  # `unique=True` would lock the function, not its argument
    return task


async def _enqueue(numbers: Sequence[int]) -> None:
    if len(numbers) == 1:
        await _job(numbers[0])
        return
    for first in range(0, len(numbers), _CHUNK):
        await worker.enqueue_many([_job(n) for n in numbers[first : first + _CHUNK]])


@asynccontextmanager
async def _session() -> AsyncIterator[Callable[[Sequence[int]], Awaitable[object]]]:
    async with worker:
        yield _enqueue


if __name__ == "__main__":
    uvloop.run(main_async(_session))
