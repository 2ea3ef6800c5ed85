"""Celery configuration that producers and workers share: the queues, and how to reach them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from kombu import Queue

from stopline.contract import Lane
from stopline.servers.redis_server import RedisServer

if TYPE_CHECKING:
    from stopline.settings.model import Settings

SOCKET_TIMEOUT_S: Final = 5.0
_KEEPALIVE: Final = (
    {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
    if hasattr(socket, "TCP_KEEPIDLE")
    else {}
)


def broker_options(settings: Settings, broker_url: str, *, waits: bool = True) -> dict[str, Any]:
    """Celery options for anybody who talks to the queues.

    Args:
        settings: the settings.
        broker_url: where the queues are.
        waits: for messages, as workers do. Who only sends has a time limit for each answer.
    """
    server = RedisServer.of(broker_url, settings)
    return {
        "broker_url": server.celery_url,
        "broker_use_ssl": server.celery_ssl,
        # JSON only: a pickle from the queue would run code.
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_queues": [Queue(lane.queue, routing_key=lane.queue) for lane in Lane],
        "task_default_queue": Lane.DEFAULT.queue,
        # A mistyped queue is an error, not a queue that nobody reads.
        "task_create_missing_queues": False,
        # Outcomes are written by the ledger, in the script that ends the request.
        "task_ignore_result": True,
        # A pool that is used up says so instead of blocking its caller for ever.
        "broker_pool_acquire_timeout": 10.0,
        "broker_connection_timeout": 5.0,
        "broker_transport_options": transport_options(settings, server, waits=waits),
        "timezone": "UTC",
    }


def transport_options(settings: Settings, server: RedisServer, *, waits: bool) -> dict[str, Any]:
    """Options for kombu's transport."""
    if not server.celery_url.startswith(("redis", "rediss", "unix", "sentinel")):
        # py-amqp's: a broker that says nothing more (or blocks who sends) must not hold them for
        # ever. Who waits for messages reads for as long as none comes.
        limits = {"write_timeout": SOCKET_TIMEOUT_S, "read_timeout": SOCKET_TIMEOUT_S}
        return {"write_timeout": SOCKET_TIMEOUT_S} if waits else limits
    return {
        **server.celery_transport_options,
        # How long a message may stay with a worker that died (kombu restores it then).
        # Longer than a lease, so that nothing is delivered again while its call is in flight.
        "visibility_timeout": settings.visibility_timeout_s,
        # A connection that a firewall forgot is found by keepalive and by a PING. kombu would
        # leave the kernel's two hours before the first probe.
        "socket_keepalive": True,
        "socket_keepalive_options": _KEEPALIVE,
        "health_check_interval": 5,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        # Without it a command to a Redis that went silent blocks its process for ever. It does
        # not bound the wait for messages, which kombu does not do in a read.
        "socket_timeout": SOCKET_TIMEOUT_S,
        # In the order of -Q: the default lane is emptied before the bulk lane.
        "queue_order_strategy": "priority",
    }
