"""taskiq with the Redis broker that acknowledges (https://github.com/taskiq-python/taskiq-redis).

Its delayed retries need a scheduler process beside the workers.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from peer import (
    ATTEMPTS,
    BACKOFF_CAP_S,
    QUEUE,
    REDIS,
    RESULT_TTL_S,
    AsyncCaller,
    job_id,
    main_async,
)
from taskiq import SmartRetryMiddleware, TaskiqEvents, TaskiqScheduler, TaskiqState
from taskiq_redis import ListRedisScheduleSource, RedisAsyncResultBackend, RedisStreamBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

_CHUNK = 500

_delayed = ListRedisScheduleSource(REDIS, prefix=f"schedule-{QUEUE}")
broker = (
    RedisStreamBroker(
        REDIS,
        queue_name=QUEUE,
        consumer_id="0",  # also what was sent before the group existed
        unacknowledged_lock_timeout=60,
    )
    .with_result_backend(
        RedisAsyncResultBackend(REDIS, result_ex_time=RESULT_TTL_S, prefix_str="taskiq-result")
    )
    .with_middlewares(
        SmartRetryMiddleware(
            default_retry_count=ATTEMPTS,
            default_retry_label=True,
            default_delay=1,
            use_jitter=True,
            use_delay_exponent=True,
            max_delay_exponent=BACKOFF_CAP_S,
            schedule_source=_delayed,
        )
    )
)
scheduler = TaskiqScheduler(broker, [_delayed])


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def _startup(state: TaskiqState) -> None:
    state.caller = AsyncCaller()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def _shutdown(state: TaskiqState) -> None:
    await state.caller.close()


@broker.task(task_name="stop")
async def stop(n: int) -> dict[str, Any]:
    return await broker.state.caller.call(n)


async def _enqueue(numbers: Sequence[int]) -> None:
    for first in range(0, len(numbers), _CHUNK):
        chunk = numbers[first : first + _CHUNK]
        await asyncio.gather(*(stop.kicker().with_task_id(job_id(n)).kiq(n) for n in chunk))


@asynccontextmanager
async def _session() -> AsyncIterator[Callable[[Sequence[int]], Awaitable[object]]]:
    await broker.startup()
    yield _enqueue
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main_async(_session))
