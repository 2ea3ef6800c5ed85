"""Clients of a Redis, blocking and for asyncio, however it is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from stopline.servers.redis_server import RedisServer

if TYPE_CHECKING:
    from stopline.settings.sentinel import Sentinels

_TIMEOUT_S: Final = 5.0
_CONNECTIONS_MAX: Final = 10_000
"""As many as threads ask at a time. redis-py refuses the 101st, as if Redis were away."""
_RETRIES: Final = 3
"""Every verb may be repeated: accepting knows its request ids, settling needs a lease, and what
cancel and resume did once they find done."""


def _connection_options(timeout_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "protocol": 2,
        "max_connections": _CONNECTIONS_MAX,
    }


def connect(
    server: RedisServer | str, *, timeout_s: float = _TIMEOUT_S, retries: int = _RETRIES
) -> redis.Redis:
    """A client, by server or plain URL; it connects when first used."""
    server = _server(server)
    options = {
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=1), retries),
        **_connection_options(timeout_s),
        **server.connection_options,
    }
    if server.sentinels is None:
        return redis.Redis.from_url(server.url, **options)
    asked = {**_connection_options(timeout_s), **server.sentinel_options}
    sentinel = redis.sentinel.Sentinel(server.sentinels.hosts, sentinel_kwargs=asked)
    client: redis.Redis = sentinel.master_for(
        server.sentinels.service, **options, **_master_options(server, server.sentinels)
    )
    return client


def connect_async(
    server: RedisServer | str, *, timeout_s: float = _TIMEOUT_S, retries: int = _RETRIES
) -> redis.asyncio.Redis:
    """An asyncio client; it connects when first used."""
    server = _server(server)
    options = {
        "retry": redis.asyncio.retry.Retry(ExponentialWithJitterBackoff(base=0.05, cap=1), retries),
        **_connection_options(timeout_s),
        **server.connection_options,
    }
    if server.sentinels is None:
        return redis.asyncio.Redis.from_url(server.url, **options)
    asked = {**_connection_options(timeout_s), **server.sentinel_options}
    sentinel = redis.asyncio.sentinel.Sentinel(server.sentinels.hosts, sentinel_kwargs=asked)
    client: redis.asyncio.Redis = sentinel.master_for(
        server.sentinels.service, **options, **_master_options(server, server.sentinels)
    )
    return client


def _server(server: RedisServer | str) -> RedisServer:
    return RedisServer(server) if isinstance(server, str) else server


def _master_options(server: RedisServer, sentinels: Sentinels) -> dict[str, Any]:
    return {
        "db": sentinels.database,
        "username": sentinels.username,
        "password": sentinels.password,
        "ssl": server.tls is not None,
    }


def close(client: redis.Redis) -> None:
    """Close a client's connections."""
    client.close()
    if (sentinels := _sentinels_of(client)) is not None:
        sentinels.close()


async def aclose(client: redis.asyncio.Redis) -> None:
    """Close a client's connections."""
    await client.aclose()
    if (sentinels := _sentinels_of(client)) is not None:
        await sentinels.aclose()


def _sentinels_of(client: redis.Redis | redis.asyncio.Redis) -> Any:
    """What asks the Sentinels for a client, if it has some: closing the client leaves them open."""
    return getattr(client.connection_pool, "sentinel_manager", None)
