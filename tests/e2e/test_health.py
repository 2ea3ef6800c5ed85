"""`stopline health` on real workers: fresh, standing still, and gone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import orjson
import pytest

from stopline import Lane
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.support.processes import Stack


def _problems(stack: Stack, *options: str) -> list[str]:
    document = orjson.loads(stack.run("health", "--json", *options).stdout)
    return [f"{one['part']}: {one['problem']}" for one in document["standstills"]]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_is_healthy_until_it_leaves(stack: Stack, pool: str) -> None:
    stack.api.start()
    worker = stack.worker(concurrency=2, pool=pool)
    stack.wait_ready()
    wait_until(lambda: stack.run("health", "--here").returncode == 0, what="a healthy worker")
    assert _problems(stack) == []
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    left = stack.run("health", "--json")
    assert left.returncode == 1
    assert orjson.loads(left.stdout)["processes"] == []


def test_a_lane_that_nobody_serves_is_named(stack: Stack) -> None:
    stack.api.start()
    stack.worker(Lane.EMERGENCY)
    stack.wait_ready()
    emergency = ("--here", "--lane", "emergency")
    wait_until(lambda: stack.run("health", *emergency).returncode == 0)
    assert "lane bulk: no engine serves it" in _problems(stack)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", ["consumer", "engine"])
def test_a_process_that_hangs_is_named(stack: Stack, part: str) -> None:
    stack.api.start()
    worker = stack.worker()
    stack.wait_ready()
    wait_until(lambda: stack.run("health", "--here").returncode == 0)
    if part == "consumer":
        worker.send(signal.SIGSTOP)
    else:
        worker.pool[0].suspend()
    wait_until(lambda: stack.run("health", "--here").returncode == 1, what="the finding")
    assert any(one.startswith(f"{part} ") for one in _problems(stack))
    worker.kill()


def test_without_redis_the_exit_code_says_so(stack: Stack) -> None:
    stack.settings["redis_url"] = "redis://127.0.0.1:1/0"
    assert stack.run("health", "--here").returncode == 3
