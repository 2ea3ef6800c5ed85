"""What `stopline up` runs, with two workers, on a real server behind proxies."""

from __future__ import annotations

import functools
import os
import threading
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any, Self

import psutil

from stopline import Lane, Settings, StopClient
from stopline.cli.supervisor import Supervisor, stopline_command
from tests.conftest import free_port
from tests.fault.proxy import Proxy
from tests.support.processes import TOKEN, SimulatedApi
from tests.support.rabbitmq import RabbitMq
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    import signal
    from pathlib import Path

    import redis

_LANES = ((Lane.DEFAULT, Lane.BULK), (Lane.DEFAULT, Lane.BULK), (Lane.EMERGENCY,))


class SupervisedWorker:
    """A worker that is started again when it ends, by the supervisor of `stopline up`."""

    def __init__(
        self, lanes: tuple[Lane, ...], environment: dict[str, str], log: IO[bytes]
    ) -> None:
        self._supervisor = Supervisor(environment, drain_s=10, log=log)
        words = [word for lane in lanes for word in ("--lane", lane)]
        command = stopline_command("worker", "--concurrency", "1", *words)
        self._child = self._supervisor.add("-".join(lanes), command)
        self._thread = threading.Thread(target=self._supervisor.watch, daemon=True)
        self._thread.start()

    @property
    def main(self) -> psutil.Process:
        """The process that takes messages."""
        assert self._child.process is not None
        return psutil.Process(self._child.process.pid)

    @property
    def processes(self) -> list[psutil.Process]:
        """All its processes, the engines first."""
        with suppress(psutil.NoSuchProcess):
            return [*self.main.children(), self.main]
        return []

    def send(self, number: signal.Signals, *, engines: bool = True, main: bool = True) -> None:
        """Send a signal to its processes, as far as they are there."""
        for process in self.processes:
            is_main = self._child.process is not None and process.pid == self._child.process.pid
            if main if is_main else engines:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def stop(self) -> None:
        self._supervisor.request_stop()
        self._thread.join()
        self._supervisor.stop()


class SupervisedGateway:
    """A gateway of two processes, started again when it ends, as containers are."""

    def __init__(self, environment: dict[str, str], log: IO[bytes]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._supervisor = Supervisor(environment, drain_s=10, log=log)
        command = stopline_command("gateway", "--port", str(port), "--workers", "2")
        self._child = self._supervisor.add("gateway", command)
        fatal = frozenset[int]()  # what it cannot do now it may be able to do later
        watch = functools.partial(self._supervisor.watch, fatal=fatal)
        self._thread = threading.Thread(target=watch, daemon=True)
        self._thread.start()

    @property
    def processes(self) -> list[psutil.Process]:
        """Those that serve."""
        assert self._child.process is not None
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._child.process.pid).children()
        return []

    def kill_all(self) -> None:
        """Kill it with its processes."""
        assert self._child.process is not None
        processes = self.processes
        with suppress(ProcessLookupError):
            self._child.process.kill()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def stop(self) -> None:
        self._supervisor.request_stop()
        self._thread.join()
        self._supervisor.stop()


class Topology:
    """Server, proxies, API and workers; `direct` and `proxied` are settings of producers."""

    def __init__(
        self,
        directory: Path,
        *,
        latency_ms: float = 20,
        rabbitmq: bool = False,
        **settings: object,
    ) -> None:
        self.directory = directory
        self._settings = settings
        self._latency_ms = latency_ms
        self._exits = ExitStack()
        self.valkey = Valkey(directory / "valkey", appendonly="yes", appendfsync="everysec")
        self.api = SimulatedApi(directory)
        self.workers: list[SupervisedWorker] = []
        self.gateway: SupervisedGateway | None = None
        ports = (free_port(), free_port(), free_port())
        self.rabbitmq = RabbitMq(directory / "rabbitmq", *ports) if rabbitmq else None
        self.to_redis: Proxy
        self.to_rabbitmq: Proxy
        self.to_api: Proxy

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.token_file.write_text(TOKEN)
        self._exits.callback(self.valkey.kill)
        self.valkey.start()
        self._exits.callback(self.api.stop)
        self.api.start(latency_ms=self._latency_ms)
        if self.rabbitmq is not None:
            self._exits.callback(self.rabbitmq.stop)
            self.rabbitmq.start()
            self.to_rabbitmq = self._exits.enter_context(Proxy(self.rabbitmq.port))
        self.to_redis = self._exits.enter_context(Proxy(self.valkey.port))
        self.to_api = self._exits.enter_context(Proxy(int(self.api.url.rpartition(":")[2])))
        return self

    def __exit__(self, *_: object) -> None:
        stopping = [threading.Thread(target=worker.stop) for worker in self.workers]
        for one in stopping:
            one.start()
        for one in stopping:
            one.join()
        self._exits.close()

    def start_workers(
        self, *environments: dict[str, str], everywhere: dict[str, str] | None = None
    ) -> None:
        """Start all workers; each may have variables of its own."""
        log = self._exits.enter_context((self.directory / "workers.log").open("ab"))
        for index, lanes in enumerate(_LANES):
            own = environments[index] if index < len(environments) else {}
            own = {**(everywhere or {}), **own}
            self.workers.append(SupervisedWorker(lanes, {**self.environment(), **own}, log))

    def start_gateway(self) -> None:
        """Start a gateway; it reaches Redis through the proxy."""
        log = self._exits.enter_context((self.directory / "gateway.log").open("ab"))
        self.gateway = SupervisedGateway(self.environment(), log)
        self._exits.callback(self.gateway.stop)

    def settings(self, *, proxied: bool) -> dict[str, Any]:
        """Settings of a producer or worker."""
        port = self.to_redis.port if proxied else self.valkey.port
        return {
            "api_token_file": self.token_file,
            **self._settings,
            "redis_url": f"redis://127.0.0.1:{port}/0",
            "broker_url": self._broker_url(port, proxied=proxied),
            "api_url": f"http://127.0.0.1:{self.to_api.port}",
        }

    def _broker_url(self, redis_port: int, *, proxied: bool) -> str:
        if self.rabbitmq is None:
            return f"redis://127.0.0.1:{redis_port}/1"
        port = self.to_rabbitmq.port if proxied else self.rabbitmq.port
        return f"amqp://guest:guest@127.0.0.1:{port}//"

    def environment(self, *, proxied: bool = True) -> dict[str, str]:
        """The same as variables."""
        settings = self.settings(proxied=proxied)
        return {
            **os.environ,
            **{f"STOPLINE_{name.upper()}": str(value) for name, value in settings.items()},
        }

    def client(self, *, proxied: bool = False) -> StopClient:
        """A producer."""
        return StopClient(Settings.load(**self.settings(proxied=proxied)))

    def server(self, database: int = 0) -> redis.Redis:
        """A plain client of the server, past the proxy."""
        return self.valkey.client(db=database)

    @property
    def token_file(self) -> Path:
        """What the workers read the token from."""
        return self.directory / "token"

    @property
    def log(self) -> str:
        return (self.directory / "workers.log").read_text("utf-8", "replace")
