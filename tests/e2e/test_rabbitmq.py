"""RabbitMQ as the broker: looking at it changes nothing, and its errors are never the caller's."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from kombu import Connection, Queue

from stopline import Lane, OutcomeKind
from tests.conftest import wait_until
from tests.support.rabbitmq import needs_rabbitmq

if TYPE_CHECKING:
    from tests.support.processes import Stack

pytestmark = needs_rabbitmq
_QUICK_S = 4.0
"""By a message it takes milliseconds, by a sweep five seconds at least."""


@pytest.fixture
def rabbit_stack(stack: Stack, rabbitmq_url: str) -> Stack:
    stack.settings["broker_url"] = rabbitmq_url
    return stack


def test_workers_that_start_after_the_doctor_consume(rabbit_stack: Stack) -> None:
    """Its look once made the queues, as transient ones, which workers then could not declare."""
    stack = rabbit_stack
    stack.api.start()
    looked = stack.run("doctor")
    assert b"Traceback" not in looked.stderr
    assert b"broker" in looked.stdout
    stack.worker()
    stack.wait_ready()
    began = time.monotonic()
    receipt = stack.client.stop("u", "t")
    assert stack.client.wait(receipt.request_id, 60).outcome is OutcomeKind.STOPPED
    assert time.monotonic() - began < _QUICK_S
    assert stack.run("doctor").returncode == 0


def test_a_queue_of_another_kind_is_a_finding(rabbit_stack: Stack) -> None:
    stack = rabbit_stack
    stack.api.start()
    with Connection(str(stack.settings["broker_url"])) as connection:
        Queue(Lane.DEFAULT.queue, durable=False)(connection.default_channel).declare()
        looked = stack.run("doctor")
        assert looked.returncode == 2
        assert b"another kind" in looked.stdout
        with connection.channel() as channel:
            channel.queue_delete(Lane.DEFAULT.queue)


@pytest.mark.parametrize("wrong", ["password", "vhost", "host"])
def test_a_broker_that_refuses_costs_a_message_not_the_request(
    rabbit_stack: Stack, wrong: str
) -> None:
    stack = rabbit_stack
    url = str(stack.settings["broker_url"])
    stack.settings["broker_url"] = {
        "password": url.replace("guest:guest", "guest:wrong"),
        "vhost": url.removesuffix("//") + "/nowhere",
        "host": url.replace("127.0.0.1", "no-such-host.invalid"),
    }[wrong]
    receipt = stack.client.stop("u", "t")
    assert stack.client.status(receipt.request_id).outcome is None
    stack.api.start()
    looked = stack.run("doctor")
    assert looked.returncode == 3
    assert b"Traceback" not in looked.stderr


def test_a_worker_whose_lane_is_cut_off_sweeps(rabbit_stack: Stack, rabbitmq_url: str) -> None:
    """The message is lost with its queue: the ledger brings the request back."""
    stack = rabbit_stack
    stack.api.start()
    receipt = stack.client.stop("u", "t")
    with Connection(rabbitmq_url) as connection, connection.channel() as channel:
        channel.queue_delete(Lane.DEFAULT.queue)
    stack.worker()
    wait_until(lambda: stack.client.outcome(receipt.request_id), what="the outcome")


@pytest.mark.timeout(120)
def test_a_broker_that_says_nothing_holds_nobody_for_ever(stack: Stack) -> None:
    """It takes the connection, as one behind a firewall that forgot it, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        stack.settings["broker_url"] = f"amqp://guest:guest@127.0.0.1:{port}//"
        receipt = stack.client.stop("u", "t")
    assert stack.client.status(receipt.request_id).outcome is None
