"""Celery as its docs have it: acks_late, autoretry with backoff, the Redis results backend.

https://docs.celeryq.dev/en/stable/userguide/tasks.html#automatic-retry-for-known-exceptions
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import worker_process_init
from peer import (
    ATTEMPTS,
    BACKOFF_CAP_S,
    BROKER,
    QUEUE,
    REDIS,
    RESULT_TTL_S,
    call,
    job_id,
    main,
    new_client,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

app = Celery("peer", broker=BROKER, backend=REDIS)
app.conf.update(
    task_default_queue=QUEUE,
    result_expires=RESULT_TTL_S,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)
_client: httpx.Client = new_client()


@worker_process_init.connect
def _connect_after_fork(**_: Any) -> None:
    global _client
    _client = new_client()


@app.task(
    name="stop",
    autoretry_for=(Exception,),
    max_retries=ATTEMPTS - 1,
    retry_backoff=1,
    retry_backoff_max=BACKOFF_CAP_S,
    retry_jitter=True,
)
def stop(n: int) -> dict[str, Any]:
    return call(_client, n)


def _send(producer: Any, n: int) -> None:
    stop.apply_async((n,), task_id=job_id(n), producer=producer)


@contextmanager
def _session() -> Iterator[Callable[[int], object]]:
    with app.producer_pool.acquire(block=True) as producer:
        producer.connection.ensure_connection()
        producer.maybe_declare(app.amqp.queues[QUEUE])
        yield partial(_send, producer)


if __name__ == "__main__":
    main(_session)
