"""A steady load of single and bulk requests and plain messages, each until it is accepted."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import httpx
from amqp.exceptions import AMQPError
from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from stopline import Lane, StopRequest
from stopline.contract import STOP_TASK, new_request_id
from stopline.errors import LedgerFullError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline import StopClient
    from tests.fault.topology import Topology

_SINGLES_EACH_S = 0.1
_HTTP_EACH_S = 0.02
_BULK_EACH_S = 1.0
_BULK = 50
_AWAY_S = 0.2
_REFUSED = (
    UnavailableError,
    LedgerFullError,
    OperationalError,
    RedisError,
    AMQPError,
    OSError,
    httpx.HTTPError,
)


def leave_queues_alone(app: Celery) -> None:
    """In RabbitMQ they are quorum queues, which Celery would declare in another way."""
    app.conf.task_queues = [
        Queue(lane.queue, Exchange(""), lane.queue, no_declare=True) for lane in Lane
    ]


class Load:
    """Producers in threads; `receipts` are the ids to follow, with when they were got."""

    def __init__(
        self, topology: Topology, *, plain: bool = True, gateway_url: str | None = None
    ) -> None:
        self._topology = topology
        self.receipts: dict[str, float] = {}
        self.refused = 0
        self._stop = threading.Event()
        works = [(self._single, False), (self._single, True), (self._bulk, False)]
        self._threads = [
            threading.Thread(target=self._run, args=(work, proxied), daemon=True)
            for work, proxied in works
        ]
        if gateway_url is not None:
            self._threads += [
                threading.Thread(target=self._run_http, args=(gateway_url,), daemon=True)
                for _ in range(2)
            ]
        if plain:
            self._threads.append(threading.Thread(target=self._run_plain, daemon=True))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def count(self, until: float = float("inf")) -> int:
        """How many receipts there were at a moment."""
        return sum(at <= until for at in tuple(self.receipts.values()))

    def _run(self, work: Callable[[StopClient, int], None], proxied: bool) -> None:
        number = 0
        with self._topology.client(proxied=proxied) as client:
            while not self._stop.is_set():
                number += 1
                work(client, number)

    def _run_plain(self) -> None:
        """A service that has nothing but Celery: a message that the broker has is accepted."""
        settings = self._topology.settings(proxied=False)
        app = Celery(
            broker=settings["broker_url"], backend=settings["redis_url"], set_as_current=False
        )
        if settings["broker_url"].startswith("amqp"):
            leave_queues_alone(app)
            app.conf.broker_transport_options = {
                "confirm_publish": True,
                "read_timeout": 2,
                "write_timeout": 2,
            }
        else:
            app.conf.broker_transport_options = {"socket_timeout": 2, "socket_connect_timeout": 2}
        lanes = list(Lane)
        number = 0
        while not self._stop.is_set():
            number += 1
            self._send_plainly(app, new_request_id(), lanes[number % len(lanes)])
            self._stop.wait(_SINGLES_EACH_S)

    def _run_http(self, url: str) -> None:
        """A service in any language: it repeats a call with its key until there is an answer."""
        with httpx.Client(base_url=url, timeout=10) as client:
            while not self._stop.is_set():
                key = new_request_id()
                self._until_accepted(lambda key=key: self._post(client, key))  # type: ignore[misc]
                self._stop.wait(_HTTP_EACH_S)

    def _post(self, client: httpx.Client, key: str) -> list[str]:
        body = {"user_id": "h", "task_id": key}
        reply = client.post("/v1/stops", json=body, headers={"Idempotency-Key": key})
        reply.raise_for_status()
        return [reply.json()["request_id"]]

    def _send_plainly(self, app: Celery, task_id: str, lane: Lane) -> None:
        def send() -> list[str]:
            fields = {"user_id": "p", "task_id": task_id}
            app.send_task(
                STOP_TASK,
                kwargs=fields,
                queue=lane.queue,
                task_id=task_id,
                ignore_result=True,
                retry=False,
            )
            return [task_id]

        self._until_accepted(send)

    def _single(self, client: StopClient, number: int) -> None:
        request_id = new_request_id()
        lane = list(Lane)[number % len(Lane)]
        request = StopRequest(user_id="u", task_id=request_id, lane=lane, request_id=request_id)
        self._until_accepted(lambda: [client.stop_request(request).request_id])
        self._stop.wait(_SINGLES_EACH_S)

    def _bulk(self, client: StopClient, _number: int) -> None:
        batch_id = new_request_id()
        requests = [
            StopRequest(user_id="b", task_id=f"{batch_id}-{place}", lane=Lane.BULK)
            for place in range(_BULK)
        ]

        def submit() -> list[str]:
            submitted = client.stop_many(requests, batch_id=batch_id)
            return [one.request_id for one in submitted.receipts]

        self._until_accepted(submit)
        self._stop.wait(_BULK_EACH_S)

    def _until_accepted(self, submit: Callable[[], list[str]]) -> None:
        while not self._stop.is_set():
            try:
                ids = submit()
            except _REFUSED:
                self.refused += 1
                self._stop.wait(_AWAY_S)
                continue
            now = time.monotonic()
            self.receipts.update(dict.fromkeys(ids, now))
            return
