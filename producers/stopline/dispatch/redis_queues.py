"""The lanes' queues where the broker is a Redis: messages are written without Celery's help.

kombu makes a Redis client for each message, and Celery its envelope, in half a millisecond.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from stopline.contract import MESSAGE_IDS_MAX, Lane, dispatch_entry
from stopline.servers.connecting import aclose, close, connect, connect_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.servers.redis_server import RedisServer

_RETRIES: Final = 1
"""A message is worth less than its sender's time."""
_log = logging.getLogger(__name__)


class RedisQueues:
    """Puts dispatch messages on the queues. Safe to share between threads, and across a fork."""

    def __init__(self, server: RedisServer) -> None:
        self._client = connect(server, retries=_RETRIES)

    def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> None:
        """Send ids to a lane.

        Raises:
            RedisError, OSError: the broker did not take them all.
        """
        self._client.lpush(lane.queue, *_entries(lane, request_ids))

    def close(self) -> None:
        """Close the connections."""
        close(self._client)


class AsyncRedisQueues:
    """The same for asyncio; one per event loop."""

    def __init__(self, server: RedisServer) -> None:
        self._client = connect_async(server, retries=_RETRIES)

    async def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> bool:
        """Send ids to a lane; whether the broker took them all."""
        try:
            await self._client.lpush(lane.queue, *_entries(lane, request_ids))
        except (RedisError, OSError) as error:
            tell_unsent(lane, request_ids, error)
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await aclose(self._client)


def _entries(lane: Lane, request_ids: Sequence[str]) -> list[str]:
    firsts = range(0, len(request_ids), MESSAGE_IDS_MAX)
    chunks = (request_ids[first : first + MESSAGE_IDS_MAX] for first in firsts)
    return [dispatch_entry(lane.queue, chunk) for chunk in chunks]


def tell_unsent(lane: Lane, request_ids: Sequence[str], error: Exception) -> None:
    """Log that a broker did not take ids: a sweep finds them when they are due."""
    _log.warning(
        "dispatch message not sent; the requests are safe and will be swept",
        extra={
            "action": "dispatch_failed",
            "lane": lane.value,
            "requests": len(request_ids),
            "error": type(error).__name__,
        },
    )
