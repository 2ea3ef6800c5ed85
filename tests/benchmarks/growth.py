"""A million requests in one batch, from the file to the outcomes; exits 1 where it fails.

    make growth              1,000,000 requests, about five minutes
    python -m tests.benchmarks.growth 100000

The bulk command is killed half way and started again; then workers call for all of it, while
somebody looks at statuses, the batch and the dead letters, sends another batch, pauses this one,
lets it go on, and kills a worker.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from rich.console import Console

from stopline import Lane, OutcomeKind, Settings, StopClient
from stopline.ledger import keys
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.rounds import Bench, Conditions
from tests.benchmarks.steering import SMALL, QueueMemory, Steering, tell_report
from tests.benchmarks.target import Target
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.benchmarks.fleet import Fleet

_CONDITIONS: Final = Conditions(latency_ms=0, count=0, connections=200, processes=2)
_LOOK_S: Final = 0.5
_FLAT_MB: Final = 20.0
_TENTHS_SHARE: Final = 0.95

console = Console(highlight=False)


@dataclass(slots=True)
class Report:
    """Tells what was measured, and remembers what failed."""

    failures: list[str] = field(default_factory=list)

    def tell(self, name: str, value: str, *, good: bool = True) -> None:
        console.print(f"{'✓' if good else '✗'} {name}: {value}")
        if not good:
            self.failures.append(name)


def _write_file(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("user_id,task_id\n")
        file.writelines(f"u,{n}\n" for n in range(count))


class _Bulk:
    """The bulk command as a process, and the memory that it held over time."""

    def __init__(self, file: Path, environment: dict[str, str], *arguments: str) -> None:
        command = [sys.executable, "-m", "stopline.cli", "bulk", str(file), "--json", *arguments]
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, cwd=file.parent
        )
        self.resident_mb: list[float] = []

    def look(self) -> None:
        """Note its memory."""
        self.resident_mb.append(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    def run_until(self, done: Callable[[], bool]) -> None:
        """Let it run until something is so, or it ends."""
        while self._process.poll() is None and not done():
            self.look()
            time.sleep(_LOOK_S / 5)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def finish(self) -> dict[str, Any]:
        output, _ = self._process.communicate()
        assert self._process.returncode == 0, self._process.returncode
        document: dict[str, Any] = json.loads(output)
        return document

    @property
    def growth_mb(self) -> float:
        """How much larger its last fifth was than its second."""
        fifth = max(1, len(self.resident_mb) // 5)
        second, last = self.resident_mb[fifth : 2 * fifth], self.resident_mb[-fifth:]
        return statistics.mean(last) - statistics.mean(second or last)


def _accepted(client: redis.Redis) -> int:
    return int(client.zcard(keys.due(Lane.BULK)))


def _send(bench: Bench, file: Path, count: int, report: Report) -> str:
    """Send the file, kill the sender half way, send it again; the batch's id."""
    environment = bench.environment(CONTESTANTS["stopline-bulk"], _CONDITIONS, "bulk")
    memory = bench.server.info("memory")["used_memory"]
    started = time.monotonic()
    killed = _Bulk(file, environment)
    killed.run_until(lambda: _accepted(bench.server) >= count // 2)
    killed.kill()
    half = _accepted(bench.server)
    half_s = time.monotonic() - started
    report.tell("killed with SIGKILL after", f"{half:,} requests, {half / half_s:,.0f}/s")
    started = time.monotonic()
    again = _Bulk(file, environment)
    again.run_until(lambda: False)
    document = again.finish()
    took_s = time.monotonic() - started
    receipts = document["receipts"]
    report.tell(
        "the same command again",
        f"{took_s:.0f} s ({count / took_s:,.0f} lines/s): {receipts}",
        good=receipts == {"accepted": count - half, "duplicate": half},
    )
    growth_mb = again.growth_mb
    report.tell(
        "memory of the bulk command",
        f"{max(again.resident_mb):.0f} MB at most, {growth_mb:+.1f} MB from second to last fifth",
        good=growth_mb < _FLAT_MB,
    )
    in_flight = (bench.server.info("memory")["used_memory"] - memory) / count
    report.tell("Redis bytes per request in flight", f"{in_flight:.0f}", good=in_flight <= 900)
    return str(document["batch_id"])


class _Onlooker:
    """Somebody who looks at the ledger meanwhile; milliseconds of each look."""

    def __init__(self, client: StopClient, batch_id: str, request_ids: list[str]) -> None:
        self._client = client
        self._batch_id = batch_id
        self._request_ids = request_ids
        self.took_ms: dict[str, list[float]] = {"status": [], "batch": [], "dead list": []}

    def look(self) -> None:
        request_id = self._request_ids[len(self.took_ms["status"]) % len(self._request_ids)]
        self._time("status", lambda: self._client.status(request_id))
        self._time("batch", lambda: self._client.batch(self._batch_id))
        self._time("dead list", lambda: list(self._client.dead_letters()))

    def _time(self, name: str, look: Callable[[], object]) -> None:
        started = time.monotonic()
        look()
        self.took_ms[name].append((time.monotonic() - started) * 1000)

    def tell(self, report: Report) -> None:
        for name, took in self.took_ms.items():
            median = statistics.median(took)
            report.tell(
                f"{name} meanwhile",
                f"median {median:.1f} ms, at most {max(took):.0f} ms ({len(took)} looks)",
                good=median < 100,
            )


def _drain(bench: Bench, fleet: Fleet, onlooker: _Onlooker, steering: Steering, count: int) -> None:
    while _accepted(bench.server):
        fleet.check_alive()
        onlooker.look()
        steering.look(bench.target.stats.calls / count)
        if console.is_terminal:
            console.print(f"  {bench.target.stats.calls:,} of {count:,} calls", end="\r")
        time.sleep(_LOOK_S)


def _tell_rates(bench: Bench, count: int, report: Report) -> None:
    arrivals = bench.target.arrivals()
    targets = {task for task, _ in arrivals if not str(task).startswith(SMALL)}
    report.tell("calls", f"{len(arrivals):,}", good=len(targets) == count)
    at = [moment for _, moment in arrivals]
    tenth = len(at) // 10
    bounds = [at[min(n * tenth, len(at) - 1)] for n in range(11)]
    rates = [tenth / ((after - before) / 1e9) for before, after in pairwise(bounds)]
    share = rates[-1] / rates[0]
    report.tell("stops/s in each tenth", ", ".join(f"{rate:,.0f}" for rate in rates))
    report.tell("last tenth over first", f"{share:.0%}", good=share >= _TENTHS_SHARE)


def _tell_outcomes(client: StopClient, batch_id: str, report: Report) -> None:
    batch = client.batch(batch_id)
    stopped = batch.outcomes.get(OutcomeKind.STOPPED, 0)
    report.tell(
        "outcomes",
        f"{stopped:,} stopped of {batch.total:,}, {batch.pending} pending",
        good=stopped == batch.total and batch.pending == 0,
    )


def run(count: int) -> Report:
    """Everything, on servers of its own."""
    report = Report()
    with tempfile.TemporaryDirectory() as name, Target(Path(name)) as target:
        directory = Path(name)
        server = Valkey(directory / "valkey").start()
        try:
            bench = Bench(server.client(socket_timeout=60), server.url, target, directory)
            file = directory / "million.csv"
            _write_file(file, count)
            memory = bench.server.info("memory")["used_memory"]
            batch_id = _send(bench, file, count, report)
            ids = [one.decode() for one in bench.server.zrandmember(keys.due(Lane.BULK), 100)]
            started = time.monotonic()
            with StopClient(Settings.load(redis_url=server.url)) as client:
                onlooker = _Onlooker(client, batch_id, ids)
                stopline = CONTESTANTS["stopline-bulk"]
                with (
                    bench.fleet(stopline, _CONDITIONS) as fleet,
                    bench.fleet(stopline, replace(_CONDITIONS, processes=1)) as doomed,
                    QueueMemory(bench.server, batch_id) as queue,
                ):
                    steering = Steering(client, batch_id, target, report, doomed)
                    _drain(bench, fleet, onlooker, steering, count)
                queue.tell(report)
                took_s = time.monotonic() - started
                report.tell("from the workers' start to the last outcome", f"{took_s:.0f} s")
                onlooker.tell(report)
                _tell_rates(bench, count, report)
                _tell_outcomes(client, batch_id, report)
                tell_report(client, batch_id, count, report)
            settled = (bench.server.info("memory")["used_memory"] - memory) / count
            report.tell("Redis bytes per settled request", f"{settled:.0f}", good=settled <= 1000)
        finally:
            server.kill()
    return report


def main() -> int:
    """Run with the count from the command line."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    failures = run(count).failures
    if failures:
        sys.stderr.write(f"growth: failed: {', '.join(failures)}\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
