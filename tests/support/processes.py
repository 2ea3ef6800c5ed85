"""Real processes for end-to-end tests: the simulated API, workers, and what they did."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

import orjson
import psutil
import redis
from celery import Celery

from stopline import Lane, Settings, StopClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

TOKEN = "t0ken-that-nobody-may-see"


class SimulatedApi:
    """The simulated API as a process."""

    def __init__(self, directory: Path, *, token: str = TOKEN) -> None:
        self._faults = directory / "faults.json"
        self._token = token
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self, rules: Sequence[dict[str, Any]] = (), *, latency_ms: float = 0) -> Self:
        self._faults.write_bytes(orjson.dumps(list(rules)))
        command = [sys.executable, "-m", "stopline_simulator", "--port", "0", "--json"]
        command += ["--faults", str(self._faults), "--latency-ms", str(latency_ms)]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "STOPLINE_SIMULATED_TOKEN": self._token},
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.url = orjson.loads(self._process.stdout.readline())["url"]
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def _get(self, query: str = "") -> Any:
        with urllib.request.urlopen(f"{self.url}/simulator/calls{query}", timeout=30) as reply:
            return orjson.loads(reply.read())

    def rotate_token(self, token: str) -> None:
        """From now on, another token is asked for."""
        request = urllib.request.Request(
            f"{self.url}/simulator/token", data=token.encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=30).close()

    def outage(self, http_status: int | None) -> None:
        """From now on all calls are answered so; None: as ever."""
        method, body = "DELETE", b""
        if http_status is not None:
            method, body = "PUT", orjson.dumps({"http_status": http_status})
        request = urllib.request.Request(f"{self.url}/simulator/outage", data=body, method=method)
        urllib.request.urlopen(request, timeout=30).close()

    @property
    def times(self) -> list[float]:
        """When each call came, in seconds."""
        found: list[float] = self._get("?times=1")
        return found

    def calls(self, target: str) -> list[dict[str, Any]]:
        """The calls of one target, in order."""
        return self._get("?" + urllib.parse.urlencode({"target": target}))

    @property
    def total(self) -> dict[str, int]:
        """How many calls there were in all."""
        return self._get()


class Worker:
    """A Celery worker as a process, as `stopline worker` runs it."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        lanes: Sequence[Lane] = tuple(Lane),
        *,
        concurrency: int = 1,
        log_level: str = "info",
        pool: str = "prefork",
    ) -> Self:
        command = [sys.executable, "-m", "stopline.cli", "worker", "--log-level", log_level]
        command += ["--concurrency", str(concurrency)]
        for lane in lanes:
            command += ["--lane", lane]
        if pool != "prefork":  # then as an operator of Celery would
            queues = ",".join(lane.queue for lane in lanes)
            command = [sys.executable, "-m", "celery", "-A", "stopline_worker.app", "worker"]
            command += ["-Q", queues, "--pool", pool, "--concurrency", str(concurrency)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    @property
    def pool(self) -> list[psutil.Process]:
        """The pool's processes."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children()

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, limit_s: float = 60) -> int:
        assert self.process is not None
        return self.process.wait(limit_s)

    def kill(self) -> None:
        """Kill all of it, as a machine that loses its power does."""
        _kill_with_children(self.process)

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")


def _kill_with_children(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    children = psutil.Process(process.pid).children()
    process.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()


class GatewayProcess:
    """A gateway as a process, on a port of its own."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self, *arguments: str) -> Self:
        """Start it, and wait until it is ready; again on the same port."""
        port = self.url.rpartition(":")[2] or "0"
        begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stopline.cli", "gateway", "--port", port, *arguments],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while not self._is_ready(begin):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)
        return self

    def _is_ready(self, begin: int) -> bool:
        found = re.search(r"gateway: (http://\S+) ", self.log[begin:])
        if found is None:
            return False
        self.url = found[1]
        try:
            urllib.request.urlopen(f"{self.url}/livez", timeout=5).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Kill it and its processes."""
        _kill_with_children(self.process)

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")


class ServiceProcess:
    """A command that runs until it is ended: `stopline bridge …`, `stopline outcomes run`."""

    def __init__(self, stack: Stack, *command: str, **variables: str) -> None:
        self._stack, self._command, self._variables = stack, command, variables
        self._log = stack.directory / f"{command[0]}.log"
        self._process: subprocess.Popen[bytes] | None = None
        stack.at_end(self.kill)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stopline.cli", *self._command],
                env={**self._stack.environment, **self._variables, "PATH": ""},
                cwd=self._stack.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")


class Stack:
    """Everything a test needs around a Redis: API, workers, client. Stops them at the end."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.directory = directory
        self.redis_url = redis_url
        self.api = SimulatedApi(directory)
        self.settings: dict[str, object] = {
            "redis_url": redis_url,
            "api_token": TOKEN,
            "backoff_base_s": 0.05,
            "backoff_cap_s": 0.2,
            "drain_s": 5,
        }
        self.variables = {"STOPLINE_GATEWAY_PORT": "0"}
        """Others, of services; tests run side by side."""
        self._exits = ExitStack()
        self._workers = 0
        self._gateways = 0
        self._client: StopClient | None = None

    def __enter__(self) -> Self:
        self._exits.callback(self.api.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    @property
    def environment(self) -> dict[str, str]:
        """The settings as variables."""
        settings = {"api_url": self.api.url, **self.settings}
        given = {
            f"STOPLINE_{name.upper()}": str(value)
            for name, value in settings.items()
            if value is not None
        }
        return {**given, **self.variables}

    @property
    def client(self) -> StopClient:
        if self._client is None:
            settings = {name: one for name, one in self.settings.items() if one is not None}
            self._client = StopClient(Settings.load(**settings))
            self._exits.callback(self._client.close)
        return self._client

    def worker(
        self,
        *lanes: Lane,
        concurrency: int = 1,
        log_level: str = "info",
        pool: str = "prefork",
        variables: dict[str, str] | None = None,
    ) -> Worker:
        """Start a worker; it is killed at the end of the test."""
        self._workers += 1
        log = self.directory / f"worker-{self._workers}.log"
        worker = Worker({**self.environment, **(variables or {})}, log)
        self._exits.callback(worker.kill)
        return worker.start(
            lanes or tuple(Lane), concurrency=concurrency, log_level=log_level, pool=pool
        )

    def gateway(self, *arguments: str, variables: dict[str, str] | None = None) -> GatewayProcess:
        """Start a gateway; it is killed at the end of the test."""
        self._gateways += 1
        log = self.directory / f"gateway-{self._gateways}.log"
        one = GatewayProcess({**self.environment, **(variables or {})}, log)
        self._exits.callback(one.kill)
        return one.start(*arguments)

    def run(
        self, *arguments: str, stdin: bytes | None = None, limit_s: float = 120
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the command line."""
        return subprocess.run(
            [sys.executable, "-m", "stopline.cli", *arguments],
            env={**os.environ, "COLUMNS": "200", **self.environment},
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )

    def post(self, url: str, body: bytes, content_type: str) -> Any:
        """Post to the gateway; the JSON of its reply."""
        request = urllib.request.Request(url, body, {"Content-Type": content_type})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return orjson.loads(reply.read())

    def at_end(self, call: Callable[[], None]) -> None:
        """Call something when the test is over."""
        self._exits.callback(call)

    def wait_ready(self) -> None:
        """Wait until a worker calls: one request through the whole path."""
        receipt = self.client.stop("warm-up", f"w{time.monotonic_ns()}", lane=Lane.EMERGENCY)
        self.client.wait(receipt.request_id, 60)

    def client_of_server(self) -> redis.Redis:
        """A plain client of the Redis."""
        return redis.Redis.from_url(self.redis_url)

    def celery(self) -> Celery:
        """An app of a service that has nothing but Celery."""
        return Celery(broker=self.redis_url, backend=self.redis_url, set_as_current=False)
