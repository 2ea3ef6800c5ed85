"""A client that was used before a fork works in both processes (gunicorn --preload)."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from stopline import AsyncStopClient, Settings, StopClient
from tests.conftest import wait_until
from tests.support.rabbitmq import needs_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Callable

_CHILDREN = 3


def _in_children(work: Callable[[int], None]) -> list[int]:
    """The exit codes of processes that do some work each; one that hangs is killed."""
    pids = []
    for number in range(_CHILDREN):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    codes = []
    for pid in pids:
        ended: list[int] = []

        def reap(pid: int = pid, ended: list[int] = ended) -> bool:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(done)

        try:
            wait_until(reap, what="a child's end", limit_s=30)
        finally:
            if not ended:
                os.kill(pid, signal.SIGKILL)
        codes += ended
    return codes


def _settings(redis_url: str, broker_url: str) -> Settings:
    return Settings.load(redis_url=redis_url, broker_url=broker_url)


@pytest.fixture(params=["redis", pytest.param("amqp", marks=needs_rabbitmq)])
def settings(request: pytest.FixtureRequest, redis_url: str) -> Settings:
    broker = redis_url if request.param == "redis" else request.getfixturevalue("rabbitmq_url")
    return _settings(redis_url, broker)


def test_a_client_goes_on_in_all_processes(settings: Settings) -> None:
    with StopClient(settings) as client:
        client.stop("before", "fork")
        codes = _in_children(lambda number: client.stop("child", str(number)) and None)
        assert codes == [0] * _CHILDREN
        for number in range(20):
            client.stop("after", str(number))
        depths = client._publisher.depths()
        assert sum(depth or 0 for depth in depths.values()) == 1 + _CHILDREN + 20


def test_an_asyncio_client_goes_on_in_all_processes(settings: Settings) -> None:
    client = AsyncStopClient(settings)

    def in_child(number: int) -> None:
        asyncio.run(client.stop("child", str(number)))

    async def before_and_after() -> None:
        await client.stop("before", "fork")
        assert _in_children(in_child) == [0] * _CHILDREN
        for number in range(20):
            await client.stop("after", str(number))
        await client.close()

    asyncio.run(before_and_after())
