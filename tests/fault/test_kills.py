"""Workers are killed at any moment while plain messages flow: none is lost, none ends twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

from stopline import Lane
from stopline.contract import STOP_TASK
from stopline.ledger import keys
from stopline.ledger.queries import parse_result
from tests.conftest import wait_until
from tests.support.processes import Stack

if TYPE_CHECKING:
    from pathlib import Path

    import redis
    from celery import Celery

_WORKERS: Final = 2
_EACH: Final = 40
"""Messages for each kill."""


class _Nursery:
    """Workers, of which one is killed now and then, and replaced."""

    def __init__(self, stack: Stack, *, stock: bool) -> None:
        self._log = (stack.directory / "nursery.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fault.nursery", *(["--stock"] if stock else [])],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **stack.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.pids.append(int(self._process.stdout.readline()))

    def kill(self, index: int) -> None:
        os.kill(self.pids.pop(index), signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with self._process:
            self._process.kill()
        self._log.close()


class _Outcomes(threading.Thread):
    """Counts the outcomes that are written, by their ids."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(daemon=True)
        self.written: Counter[str] = Counter()
        self._channel = client.pubsub()
        self._channel.psubscribe(keys.RESULT + "*")
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            message: Any = self._channel.get_message(timeout=0.2)
            if message and message["type"] == "pmessage" and parse_result(message["data"]):
                self.written[message["channel"].decode().removeprefix(keys.RESULT)] += 1

    def stop(self) -> None:
        self._over.set()
        self.join()
        self._channel.close()


def _send(app: Celery, sent: list[str]) -> None:
    with app.producer_pool.acquire() as producer:
        for _ in range(_EACH):
            result = app.send_task(
                STOP_TASK,
                kwargs={"user_id": "u", "task_id": str(len(sent))},
                queue=Lane.DEFAULT.queue,
                producer=producer,
                ignore_result=True,
            )
            sent.append(result.id)


def _kill_and_count(
    directory: Path, redis_url: str, kills: int, *, stock: bool = False
) -> tuple[list[str], Counter[str]]:
    """The ids that were sent, and how many outcomes were written for each."""
    moment = random.Random(kills)
    sent: list[str] = []
    with Stack(directory, redis_url) as stack:
        stack.api.start()
        stack.settings |= {"call_timeout_s": 1, "read_timeout_s": 1, "connect_timeout_s": 1}
        stack.settings |= {"lease_s": 2, "visibility_timeout_s": 4}
        with (
            _Nursery(stack, stock=stock) as nursery,
            stack.client_of_server() as server,
            stack.celery() as app,
        ):
            outcomes = _Outcomes(server)
            for _ in range(_WORKERS):
                nursery.start()
            for _ in range(kills):
                _send(app, sent)
                time.sleep(moment.uniform(0, 0.8))
                nursery.kill(moment.randrange(_WORKERS))
                nursery.start()
            _until_quiet(server, outcomes, len(sent), complete=not stock)
            outcomes.stop()
            return sent, outcomes.written


def _until_quiet(server: redis.Redis, outcomes: _Outcomes, sent: int, *, complete: bool) -> None:
    def is_quiet() -> bool:
        if complete:
            return len(outcomes.written) >= sent
        waiting = server.llen(Lane.DEFAULT.queue) or server.hlen("unacked")
        return not waiting and not server.zcard(keys.due(Lane.DEFAULT))

    with suppress(pytest.fail.Exception):
        wait_until(is_quiet, limit_s=60)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kills",
    [
        25,
        pytest.param(500, marks=[pytest.mark.chaos, pytest.mark.timeout(1500)]),
    ],
)
def test_every_message_has_one_outcome(tmp_path: Path, redis_url: str, kills: int) -> None:
    sent, written = _kill_and_count(tmp_path, redis_url, kills)
    assert len(sent) == kills * _EACH
    assert [one for one in sent if written[one] != 1] == []


@pytest.mark.chaos
@pytest.mark.timeout(1500)
def test_stock_kombu_would_lose_some(tmp_path: Path, redis_url: str) -> None:
    """Which is how we know that the test above would notice."""
    sent, written = _kill_and_count(tmp_path, redis_url, 500, stock=True)
    lost = [one for one in sent if not written[one]]
    assert lost
