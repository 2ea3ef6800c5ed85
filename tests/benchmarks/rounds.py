"""A round of one contestant: enqueue without workers, then drain; and single times to stop."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kombu import Connection, Queue

from stopline.dispatch.broker import lane_queues
from tests.benchmarks.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from tests.benchmarks.contestants import Contestant
    from tests.benchmarks.target import Target
    from tests.support.rabbitmq import RabbitMq

MEASURED = (0.3, 0.9)
"""Which part of the calls is measured: workers start one after the other, and the last calls wait
for nobody."""
_LOOK_S = 0.01
_PATIENCE_S = 600.0
_WARM_UP_FIRST = 900_000_000


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all contestants of a round have alike."""

    latency_ms: float
    count: int
    connections: int
    processes: int


@dataclass(frozen=True, slots=True)
class Drain:
    """What one round of enqueueing and draining gave."""

    enqueued_per_s: float
    stops_per_s: float
    cpu_s_per_1000: float
    server_cpu_s_per_1000: float
    target_cpu_s_per_1000: float
    peak_bytes: tuple[tuple[str, int], ...]
    bytes_in_flight: float
    bytes_settled: float
    commands_per_stop: float
    round_trips_per_stop: float
    repeated: int


@dataclass(frozen=True, slots=True)
class TimesToStop:
    """Milliseconds from the enqueueing call to the arrival at the target, sorted."""

    milliseconds: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """The value below which this share of them lies."""
        return self.milliseconds[
            min(len(self.milliseconds) - 1, int(len(self.milliseconds) * share))
        ]


@dataclass(frozen=True, slots=True)
class _Server:
    """Counters of the Redis-compatible server at one moment."""

    memory: int
    commands: int
    reads: int
    cpu_s: float

    @classmethod
    def now(cls, server: redis.Redis) -> _Server:
        info: dict[str, Any] = server.info()
        return cls(
            info["used_memory"],
            info["total_commands_processed"],
            # Reads from sockets: pipelined commands come in one, so this counts round trips.
            info["total_reads_processed"],
            info["used_cpu_user"] + info["used_cpu_sys"],
        )


class Bench:
    """What every round needs: the server, the target, a directory for logs."""

    def __init__(
        self,
        server: redis.Redis,
        redis_url: str,
        target: Target,
        logs: Path,
        rabbitmq: RabbitMq | None = None,
    ) -> None:
        self.server = server
        self.redis_url = redis_url
        self._rabbitmq = rabbitmq
        self.target = target
        self._logs = logs

    def environment(
        self, contestant: Contestant, conditions: Conditions, queue: str
    ) -> dict[str, str]:
        per_process = self._connections(contestant, conditions)
        return {
            "BENCH_REDIS_URL": self.redis_url,
            "BENCH_API_URL": self.target.url,
            "BENCH_CONNECTIONS": str(per_process),
            "BENCH_QUEUE": queue,
            "STOPLINE_REDIS_URL": self.redis_url,
            "STOPLINE_API_URL": self.target.url,
            "STOPLINE_API_TOKEN": "x",
            "STOPLINE_MAX_IN_FLIGHT": str(per_process),
            **contestant.environment,
            **self._broker(contestant),
        }

    def _broker(self, contestant: Contestant) -> dict[str, str]:
        if not contestant.rabbitmq:
            return {}
        assert self._rabbitmq is not None
        return {"BENCH_BROKER_URL": self._rabbitmq.url, "STOPLINE_BROKER_URL": self._rabbitmq.url}

    def _empty(self, contestant: Contestant) -> None:
        """Begin anew; RabbitMQ's queues are there, as workers declare them."""
        self.server.execute_command("FLUSHALL", "SYNC")
        if contestant.rabbitmq:
            assert self._rabbitmq is not None
            queues = lane_queues(self._rabbitmq.url) if contestant.is_stopline else [Queue("bulk")]
            with Connection(self._rabbitmq.url) as connection:
                for queue in queues:
                    bound = queue(connection.default_channel)
                    bound.queue_declare()
                    bound.purge()

    def _connections(self, contestant: Contestant, conditions: Conditions) -> int:
        per_process = conditions.connections // conditions.processes
        return min(per_process, contestant.connections_max.get(conditions.latency_ms, per_process))

    def _run(self, contestant: Contestant, environment: dict[str, str], *arguments: str) -> Any:
        done = subprocess.run(
            [*contestant.producer, *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            check=True,
            timeout=_PATIENCE_S,
            cwd=contestant.directory,
        )
        return json.loads(done.stdout.splitlines()[-1])

    @contextmanager
    def fleet(
        self, contestant: Contestant, conditions: Conditions, queue: str = "bulk"
    ) -> Iterator[Fleet]:
        """The contestant's workers for a queue."""
        log = self._logs / f"{contestant.name}-{queue}.log"
        environment = self.environment(contestant, conditions, queue)
        per_process = self._connections(contestant, conditions)
        fitted = replace(conditions, connections=per_process * conditions.processes)
        commands = contestant.workers(fitted, queue)
        with Fleet(commands, environment, log, contestant.directory) as fleet:
            yield fleet

    def wait_for(self, fleet: Fleet, recorded: Any, count: int) -> None:
        """Wait until so many calls came and so many results are recorded."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.target.stats.calls < count or recorded() < count:
            fleet.check_alive()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.target.stats.calls} calls, {recorded()} results of {count}"
                )
            time.sleep(_LOOK_S)

    def drain(self, contestant: Contestant, conditions: Conditions) -> Drain:
        """Enqueue with no worker, then start the workers and see the queue drain."""
        self._empty(contestant)
        self.target.reset(conditions.latency_ms)
        environment = self.environment(contestant, conditions, "bulk")
        empty = _Server.now(self.server)
        sent = self._run(contestant, environment, "enqueue", "0", str(conditions.count))
        queued = _Server.now(self.server)
        begin, end = (int(conditions.count * share) for share in MEASURED)
        target_cpu_s = self.target.stats.cpu_s
        with self.fleet(contestant, conditions) as fleet:
            while self.target.stats.calls < begin:
                fleet.check_alive()
                time.sleep(_LOOK_S)
            calls, cpu_s = self.target.stats.calls, fleet.cpu_s
            self.wait_for(fleet, lambda: contestant.recorded(self.server), conditions.count)
            cpu_s = fleet.cpu_s - cpu_s
            measured = conditions.count - calls
            peaks = tuple((one.name, one.peak) for one in fleet.memory)
        settled = _Server.now(self.server)
        stats = self.target.stats
        arrivals = self.target.arrivals()
        measured_s = (arrivals[end][1] - arrivals[begin][1]) / 1e9
        times_called = Counter(task for task, _ in arrivals)
        in_thousands = conditions.count / 1000
        return Drain(
            enqueued_per_s=sent["count"] / sent["seconds"],
            stops_per_s=(end - begin) / measured_s,
            cpu_s_per_1000=cpu_s / measured * 1000,
            server_cpu_s_per_1000=(settled.cpu_s - queued.cpu_s) / in_thousands,
            target_cpu_s_per_1000=(stats.cpu_s - target_cpu_s) / in_thousands,
            peak_bytes=peaks,
            bytes_in_flight=(queued.memory - empty.memory) / conditions.count,
            bytes_settled=(settled.memory - empty.memory) / conditions.count,
            commands_per_stop=(settled.commands - queued.commands) / conditions.count,
            round_trips_per_stop=(settled.reads - queued.reads) / conditions.count,
            repeated=sum(times - 1 for times in times_called.values()),
        )

    def idle_times(self, contestant: Contestant, conditions: Conditions, count: int) -> TimesToStop:
        """Time-to-stop of single requests on a system that has nothing else to do."""
        self._empty(contestant)
        self.target.reset(conditions.latency_ms)
        with self.fleet(contestant, conditions) as fleet:
            self._warm_up(contestant, conditions, "bulk", fleet)
            return self._pace(contestant, conditions, "bulk", count)

    def loaded_times(
        self, contestant: Contestant, conditions: Conditions, count: int, bulk_by: Contestant
    ) -> TimesToStop:
        """Time-to-stop of urgent requests, while a bulk of `conditions.count` drains.

        The urgent queue has one worker process of its own; the bulk comes as `bulk_by` sends it.
        """
        self._empty(contestant)
        self.target.reset(conditions.latency_ms)
        environment = self.environment(bulk_by, conditions, "bulk")
        self._run(bulk_by, environment, "enqueue", "0", str(conditions.count))
        with self.fleet(contestant, conditions, "urgent") as urgent:
            self._warm_up(contestant, conditions, "urgent", urgent)
            with self.fleet(bulk_by, conditions) as bulk:
                while self.target.stats.calls < conditions.connections * 2:
                    bulk.check_alive()
                    time.sleep(_LOOK_S)
                times = self._pace(contestant, conditions, "urgent", count)
                if self.target.stats.calls >= conditions.count:
                    raise RuntimeError("the bulk was over before the urgent ones: make it larger")
                return times

    def _warm_up(
        self, contestant: Contestant, conditions: Conditions, queue: str, fleet: Fleet
    ) -> None:
        environment = self.environment(contestant, conditions, queue)
        before = self.target.stats.calls
        self._run(contestant, environment, "pace", str(_WARM_UP_FIRST), "20", "5")
        while self.target.stats.calls < before + 20:
            fleet.check_alive()
            time.sleep(_LOOK_S)

    def _pace(
        self, contestant: Contestant, conditions: Conditions, queue: str, count: int
    ) -> TimesToStop:
        environment = self.environment(contestant, conditions, queue)
        first = _WARM_UP_FIRST + 1000
        sent = self._run(contestant, environment, "pace", str(first), str(count), "20")
        time.sleep(_LOOK_S)
        names = {str(n) for n, _ in sent}
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            arrived = {task: at for task, at in self.target.arrivals() if task in names}
            if len(arrived) == count or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        return TimesToStop(tuple(sorted((arrived[str(n)] - at) / 1e6 for n, at in sent)))
