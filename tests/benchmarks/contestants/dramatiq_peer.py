"""dramatiq with its Redis broker, its retries and its results (https://dramatiq.io/guide.html)."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from peer import ATTEMPTS, BACKOFF_CAP_S, QUEUE, REDIS, RESULT_TTL_S, call, main, new_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

broker = RedisBroker(url=REDIS)
broker.add_middleware(
    Results(
        backend=RedisBackend(url=REDIS, use_namespace_prefix_keys=True),
        store_results=True,
        result_ttl=RESULT_TTL_S * 1000,
    )
)
dramatiq.set_broker(broker)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs a line a request otherwise
_client = new_client()  # connects when it is first used: after the fork


@dramatiq.actor(
    queue_name=QUEUE,
    max_retries=ATTEMPTS - 1,
    min_backoff=1000,
    max_backoff=BACKOFF_CAP_S * 1000,
)
def stop(n: int) -> dict[str, Any]:
    return call(_client, n)


@contextmanager
def _session() -> Iterator[Callable[[int], object]]:
    broker.client.ping()
    yield stop.send


if __name__ == "__main__":
    main(_session)
