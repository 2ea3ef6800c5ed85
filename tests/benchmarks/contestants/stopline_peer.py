"""Stopline as a contestant: the producer's side. Workers are `stopline worker`.

python stopline_peer.py bulk|client|threads|coroutines|send-task enqueue FIRST COUNT
python stopline_peer.py bulk|client|threads|coroutines|send-task pace FIRST COUNT INTERVAL_MS
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time

from celery import Celery
from kombu import Exchange, Queue

from stopline import AsyncStopClient, Lane, StopClient
from stopline.contract import STOP_TASK

USER = "u"
_THREADS = 32
_COROUTINES = 200


def _enqueue_bulk(client: StopClient, lane: Lane, first: int, count: int) -> None:
    client.stop_many(
        (
            {"user_id": USER, "task_id": str(n), "lane": lane, "source": "bench"}
            for n in range(first, first + count)
        ),
    )


def _stop_one(client: StopClient, lane: Lane, n: int) -> None:
    client.stop(USER, str(n), lane=lane, source="bench")


def _send_one(app: Celery, lane: Lane, n: int) -> None:
    fields = {"user_id": USER, "task_id": str(n), "lane": lane.value, "source": "bench"}
    app.send_task(STOP_TASK, kwargs=fields, queue=lane.queue)


def _plain_celery() -> Celery:
    redis = os.environ["STOPLINE_REDIS_URL"]
    app = Celery(broker=os.environ.get("STOPLINE_BROKER_URL", redis), backend=redis)
    if "STOPLINE_BROKER_URL" in os.environ:  # RabbitMQ's queues are for workers to declare
        app.conf.task_queues = [
            Queue(lane.queue, Exchange(""), lane.queue, no_declare=True) for lane in Lane
        ]
    return app


def _enqueue_plainly(lane: Lane, first: int, count: int) -> float:
    app = _plain_celery()
    with app.connection_for_write() as connection:
        connection.ensure_connection()
    started = time.perf_counter()
    for n in range(first, first + count):
        _send_one(app, lane, n)
    return time.perf_counter() - started


def _enqueue_by_threads(client: StopClient, lane: Lane, first: int, count: int) -> None:
    def work(index: int) -> None:
        for n in range(first + index, first + count, _THREADS):
            _stop_one(client, lane, n)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _enqueue_by_coroutines(lane: Lane, first: int, count: int) -> float:
    async with AsyncStopClient() as client:
        await client.heartbeats()  # connects

        async def work(index: int) -> None:
            for n in range(first + index, first + count, _COROUTINES):
                await client.stop(USER, str(n), lane=lane, source="bench")

        started = time.perf_counter()
        await asyncio.gather(*(work(index) for index in range(_COROUTINES)))
        return time.perf_counter() - started


def _enqueue(way: str, lane: Lane, first: int, count: int) -> float:
    if way == "send-task":
        return _enqueue_plainly(lane, first, count)
    if way == "coroutines":
        return asyncio.run(_enqueue_by_coroutines(lane, first, count))
    with StopClient() as client:
        client.heartbeats()  # connects
        started = time.perf_counter()
        if way == "bulk":
            _enqueue_bulk(client, lane, first, count)
        elif way == "threads":
            _enqueue_by_threads(client, lane, first, count)
        else:
            for n in range(first, first + count):
                _stop_one(client, lane, n)
        return time.perf_counter() - started


def _pace(way: str, lane: Lane, first: int, count: int, interval_s: float) -> list[list[int]]:
    sent = []
    app = _plain_celery()
    with StopClient() as client:
        for n in range(first, first + count):
            time.sleep(interval_s)
            at = time.monotonic_ns()
            if way == "send-task":
                _send_one(app, lane, n)
            else:
                _stop_one(client, lane, n)
            sent.append([n, at])
    return sent


def main(way: str, command: str, first: str, count: str, interval_ms: str = "0") -> None:
    """Do as told and print one line of JSON."""
    lane = Lane.EMERGENCY if os.environ.get("BENCH_QUEUE") == "urgent" else Lane.BULK
    if command == "enqueue":
        seconds = _enqueue(way, lane, int(first), int(count))
        sys.stdout.write(json.dumps({"count": int(count), "seconds": seconds}) + "\n")
    else:
        sent = _pace(way, lane, int(first), int(count), float(interval_ms) / 1000)
        sys.stdout.write(json.dumps(sent) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
