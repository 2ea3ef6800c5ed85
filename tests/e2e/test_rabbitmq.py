"""RabbitMQ as the broker: looking at it changes nothing, and its errors are never the caller's."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from amqp.exceptions import ChannelError
from celery import Celery
from kombu import Connection, Exchange, Queue

from stopline import DeadMessage, InvalidRequestError, Lane, OutcomeKind
from stopline.contract import STOP_TASK
from stopline.dispatch.broker import DELIVERIES_MAX, later_queue
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


@pytest.fixture
def sender(rabbitmq_url: str, redis_url: str) -> Celery:
    """A service that has nothing but Celery, and leaves the queues as they are."""
    app = Celery(broker=rabbitmq_url, backend=redis_url, set_as_current=False)
    app.conf.task_queues = [
        Queue(lane.queue, Exchange(""), lane.queue, no_declare=True) for lane in Lane
    ]
    return app


def _send(sender: Celery, task_id: str, **options: Any) -> Any:
    fields = {"user_id": "u", "task_id": task_id}
    return sender.send_task(STOP_TASK, kwargs=fields, queue=Lane.DEFAULT.queue, **options)


def test_plain_messages_are_taken_together(rabbit_stack: Stack, sender: Celery) -> None:
    stack = rabbit_stack
    stack.api.start()
    stack.client.stop("u", "first")  # declares the queue
    results = [_send(sender, str(number)) for number in range(500)]
    wait_until(lambda: _depth(stack) == 501, what="the queue's length")
    worker = stack.worker()
    outcomes = {result.get(timeout=60)["outcome"] for result in results}
    assert outcomes == {"stopped"}
    wait_until(lambda: _depth(stack) == 0, what="an empty queue")
    assert "ERROR" not in worker.log


def _depth(stack: Stack) -> int:
    return stack.client._publisher.depths()[Lane.DEFAULT]  # type: ignore[attr-defined]  # no verb


def test_bad_ones_go_to_quarantine_and_can_be_sent_again(
    rabbit_stack: Stack, sender: Celery
) -> None:
    stack = rabbit_stack
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    with pytest.raises(InvalidRequestError, match="task_id"):
        _send(sender, "..").get(timeout=60)
    (letter,) = stack.client.dead_letters()
    assert isinstance(letter, DeadMessage)
    stack.client.redrive([letter])
    wait_until(
        lambda: [one for one in stack.client.dead_letters() if one != letter],
        what="the letter's return",
    )
    assert _send(sender, "good").get(timeout=60)["outcome"] == "stopped"


def test_an_eta_is_waited_for(rabbit_stack: Stack, sender: Celery) -> None:
    stack = rabbit_stack
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    eta = datetime.now(UTC) + timedelta(seconds=2)
    outcome = _send(sender, "t", eta=eta).get(timeout=60)
    assert datetime.fromisoformat(outcome["attempts"][0]["started_at"]) >= eta


def test_a_compressed_message_is_kept(rabbit_stack: Stack, sender: Celery) -> None:
    """Celery deletes what kombu cannot decode."""
    stack = rabbit_stack
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    _send(sender, "t", compression="gzip")
    wait_until(lambda: list(stack.client.dead_letters()), what="the letter")
    (letter,) = stack.client.dead_letters()
    assert isinstance(letter, DeadMessage)
    assert "compressed" in letter.reason


def test_what_is_for_much_later_keeps_no_other_away(
    rabbit_stack: Stack, sender: Celery, rabbitmq_url: str
) -> None:
    stack = rabbit_stack
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    later = [_send(sender, f"later-{number}", countdown=3600) for number in range(80)]
    assert _send(sender, "now").get(timeout=60)["outcome"] == "stopped"
    queue = later_queue(Lane.DEFAULT.queue).name

    def waiting() -> int:
        with Connection(rabbitmq_url) as connection, connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)

    def is_there() -> bool:
        try:
            return waiting() == len(later)
        except ChannelError:  # nobody has declared it yet
            return False

    wait_until(is_there, what="the messages where they wait")
    with Connection(rabbitmq_url) as connection, connection.channel() as channel:
        channel.queue_delete(queue)
    assert stack.api.calls("u/later-0") == []


def test_what_was_delivered_too_often_is_kept(
    rabbit_stack: Stack, sender: Celery, rabbitmq_url: str
) -> None:
    """Each time its worker died: it may be what kills them."""
    stack = rabbit_stack
    stack.api.start()
    stack.client.stop("u", "first")
    with Connection(rabbitmq_url) as connection, connection.channel() as channel:
        channel.queue_purge(Lane.DEFAULT.queue)
        result = _send(sender, "t")

        def deliver() -> bool:
            message = channel.basic_get(Lane.DEFAULT.queue)
            if message is not None:
                channel.basic_reject(message.delivery_tag, requeue=True)
            return message is None

        deliveries = 0
        while deliveries <= DELIVERIES_MAX:
            wait_until(lambda: not deliver(), what="the message")
            deliveries += 1
        wait_until(deliver, what="an empty queue")
    stack.worker()
    wait_until(lambda: list(stack.client.dead_letters()), what="the letter")
    (letter,) = stack.client.dead_letters()
    assert isinstance(letter, DeadMessage)
    assert (letter.queue, letter.headers["id"]) == (Lane.DEFAULT.queue, result.id)
    assert "was delivered" in letter.reason
    stack.client.redrive([letter])
    assert result.get(timeout=60)["outcome"] == "stopped"


def test_a_queue_of_another_kind_is_a_finding(rabbit_stack: Stack) -> None:
    stack = rabbit_stack
    stack.api.start()
    with Connection(str(stack.settings["broker_url"])) as connection:
        # As workers of earlier versions made it, and plain Celery does.
        Queue(Lane.DEFAULT.queue)(connection.default_channel).declare()
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
