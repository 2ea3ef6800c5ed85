"""arq with job ids and Retry (https://arq-docs.helpmanual.io).

`poll_delay` is 0.01 s: at its default of 0.5 s a worker makes `max_jobs` calls each half second.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop
from arq import ArqRedis, Retry, create_pool
from arq.connections import RedisSettings
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

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

_CHUNK = 100

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
LOG = {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING"}}


async def _startup(context: dict[str, Any]) -> None:
    context["caller"] = AsyncCaller()


async def _shutdown(context: dict[str, Any]) -> None:
    await context["caller"].close()


async def stop(context: dict[str, Any], n: int) -> dict[str, Any]:
    try:
        result: dict[str, Any] = await context["caller"].call(n)
    except Exception as error:
        if context["job_try"] >= ATTEMPTS:
            raise
        raise Retry(defer=min(BACKOFF_CAP_S, 2 ** (context["job_try"] - 1))) from error
    return result


class WorkerSettings:
    functions = (stop,)
    redis_settings = RedisSettings.from_dsn(REDIS)
    queue_name = f"arq:queue:{QUEUE}"
    on_startup = _startup
    on_shutdown = _shutdown
    max_jobs = CONNECTIONS
    max_tries = ATTEMPTS
    keep_result = RESULT_TTL_S
    job_timeout = CALL_TIMEOUT_S + 10
    job_completion_wait = 10
    poll_delay = 0.01
    log_results = False


async def _enqueue(redis: ArqRedis, numbers: Sequence[int]) -> None:
    for first in range(0, len(numbers), _CHUNK):
        chunk = numbers[first : first + _CHUNK]
        await asyncio.gather(*(redis.enqueue_job("stop", n, _job_id=job_id(n)) for n in chunk))


@asynccontextmanager
async def _session() -> AsyncIterator[Callable[[Sequence[int]], Awaitable[object]]]:
    redis = await create_pool(
        WorkerSettings.redis_settings, default_queue_name=WorkerSettings.queue_name
    )
    await asyncio.gather(*(redis.ping() for _ in range(_CHUNK)))
    yield lambda numbers: _enqueue(redis, numbers)
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main_async(_session))
