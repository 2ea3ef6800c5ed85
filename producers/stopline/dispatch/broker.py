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
UNDELIVERED: Final = "stopline.undelivered"
"""Where RabbitMQ puts what it delivered too often; workers keep it in quarantine."""
DELIVERIES_MAX: Final = 20
"""As RabbitMQ 4 has it by default, and 3 has no limit. Each is a worker that got a message and
neither accepted nor kept it: it died, or lost its connection."""
LATER_S: Final = 30.0
"""How long messages are elsewhere that wait for their time, in RabbitMQ."""
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
        "task_queues": lane_queues(server.celery_url),
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


def is_amqp(celery_url: str) -> bool:
    """Whether the broker is a RabbitMQ, by its address."""
    return not celery_url.startswith(("redis", "rediss", "unix", "sentinel"))


def lane_queues(celery_url: str) -> list[Queue]:
    """The lanes' queues, as whoever declares one has to: RabbitMQ refuses all other ways."""
    arguments = None
    if is_amqp(celery_url):
        arguments = {
            # On a majority of nodes' disks before it is confirmed.
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERIES_MAX,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": UNDELIVERED,
            # Not dropped where nobody has declared that queue yet; this needs the overflow.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    return [Queue(lane.queue, routing_key=lane.queue, queue_arguments=arguments) for lane in Lane]


def undelivered_queue() -> Queue:
    """The queue of what RabbitMQ delivered too often."""
    # RabbitMQ 4 has a limit by default, and drops what nothing else is said of.
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    return Queue(UNDELIVERED, routing_key=UNDELIVERED, queue_arguments=arguments)


def later_queue(queue: str) -> Queue:
    """Where messages of a lane wait, in RabbitMQ, until they are delivered to it again."""
    arguments = {
        "x-queue-type": "quorum",
        "x-message-ttl": round(LATER_S * 1000),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    name = f"{queue}.later"
    return Queue(name, routing_key=name, queue_arguments=arguments)


def transport_options(settings: Settings, server: RedisServer, *, waits: bool) -> dict[str, Any]:
    """Options for kombu's transport."""
    if is_amqp(server.celery_url):
        # py-amqp's: a broker that says nothing more (or blocks who sends) must not hold them for
        # ever. Who waits for messages reads for as long as none comes.
        limits = {"write_timeout": SOCKET_TIMEOUT_S}
        if not waits:
            limits["read_timeout"] = SOCKET_TIMEOUT_S
        # Who sends goes on when the broker has the message, not when the kernel has it.
        return {**limits, "confirm_publish": True, "socket_settings": _KEEPALIVE}
    return {
        **server.celery_transport_options,
        # How long a message may stay with a worker that died, for other versions and stock workers.
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
    }
