"""What the HTTP gateway carries: `make bench-gateway`. It needs wrk (Debian's package).

Rounds are interleaved: posts from 64 connections and, in the same round, plain Celery's `send_task`
one at a time. No worker runs: it is the ways in that are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import orjson
import psutil
from rich.console import Console
from rich.table import Table

from stopline import AsyncStopClient, Settings, StopClient
from tests.benchmarks.contestants import HERE
from tests.support.processes import GatewayProcess
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS: Final = 64
SECONDS: Final = 10
SENT_PLAINLY: Final = 3_000
ALONE: Final = 500
LINES: Final = (10_000, 1_000_000)
WAITERS: Final = 5_000
_SCRIPT: Final = Path(__file__).with_name("posts.lua")
console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found."""

    posts_per_s: float
    p50_ms: float
    p99_ms: float
    sent_plainly_per_s: float
    post_alone_ms: float
    client_alone_ms: float


class Memory:
    """The resident bytes of a gateway's processes: as they are, and the most they were."""

    def __init__(self, gateway: GatewayProcess) -> None:
        assert gateway.process is not None
        parent = psutil.Process(gateway.process.pid)
        self._processes = [parent, *parent.children()]
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    @property
    def now(self) -> int:
        return sum(one.memory_info().rss for one in self._processes)

    def _watch(self) -> None:
        while not self._is_over.wait(0.05):
            self.peak = max(self.peak, self.now)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def _posts(gateway: GatewayProcess, run: int) -> tuple[float, float, float]:
    """Posts a second from many connections, and their times in milliseconds."""
    command = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(_SCRIPT), gateway.url]
    done = subprocess.run(
        command, capture_output=True, check=True, text=True, env={**os.environ, "RUN": str(run)}
    )
    found = orjson.loads(done.stdout.splitlines()[-1])
    assert not found["errors"], found
    return found["per_s"], found["p50_ms"], found["p99_ms"]


def _sent_plainly(redis_url: str, first: int) -> float:
    peer = [sys.executable, str(HERE / "stopline_peer.py"), "send-task"]
    done = subprocess.run(
        [*peer, "enqueue", str(first), str(SENT_PLAINLY)],
        capture_output=True,
        check=True,
        env={**os.environ, "STOPLINE_REDIS_URL": redis_url, "BENCH_QUEUE": "bulk"},
    )
    sent = orjson.loads(done.stdout)
    return float(sent["count"] / sent["seconds"])


def _alone(gateway: GatewayProcess, client: StopClient, run: int) -> tuple[float, float]:
    """Milliseconds of one post, and of one `client.stop`, when nobody else asks; medians."""
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    posts, stops = [], []
    for number in range(ALONE):
        body = orjson.dumps({"user_id": "alone", "task_id": f"p{run}-{number}"})
        began = time.perf_counter()
        connection.request("POST", "/v1/stops", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        posts.append(time.perf_counter() - began)
        assert reply.status == 202  # accepted
        began = time.perf_counter()
        client.stop("alone", f"c{run}-{number}")
        stops.append(time.perf_counter() - began)
    connection.close()
    return statistics.median(posts) * 1000, statistics.median(stops) * 1000


def _round(gateway: GatewayProcess, valkey: Valkey, client: StopClient, run: int) -> Round:
    with valkey.client() as server:
        server.flushall()
    posts = _posts(gateway, run)
    with valkey.client() as server:
        server.flushall()
    plainly = _sent_plainly(valkey.url, run * SENT_PLAINLY)
    return Round(*posts, plainly, *_alone(gateway, client, run))


def _lines(count: int) -> Iterator[bytes]:
    for first in range(0, count, 1_000):
        some = range(first, min(count, first + 1_000))
        yield b"".join(b'{"user_id":"u%d","task_id":"%d-%d"}\n' % (n % 997, count, n) for n in some)


def _batch(gateway: GatewayProcess, count: int) -> tuple[float, int]:
    """Lines a second of a batch that is streamed in, and the most memory meanwhile."""
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=600)
    with Memory(gateway) as memory:
        began = time.perf_counter()
        headers = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
        path = f"/v1/batches?batch_id=of-{count}"
        connection.request("POST", path, _lines(count), headers, encode_chunked=True)
        report = orjson.loads(connection.getresponse().read())
        seconds = time.perf_counter() - began
    assert report["receipts"] == {"accepted": count}, report
    return count / seconds, memory.peak


async def _wait_for_outcomes(gateway: GatewayProcess, settings: Settings) -> tuple[float, float]:
    """Bytes for each of many that wait, and seconds until all had their outcomes."""
    address = urlsplit(gateway.url)
    memory = Memory(gateway)
    before = memory.now
    streams = []
    for number in range(WAITERS):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        body = orjson.dumps({"user_id": "w", "task_id": str(number), "batch_id": "waiters"})
        head = "POST /v1/stops?wait_s=60 HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        streams.append((reader, writer))
    async with AsyncStopClient(settings) as client:
        while (await client.batch("waiters")).total < WAITERS:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        each = (memory.now - before) / WAITERS
        began = time.perf_counter()
        reading = [asyncio.create_task(reader.readuntil(b"\r\n")) for reader, _ in streams]
        await client.cancel_batch("waiters", by="bench")
        statuses = await asyncio.gather(*reading)
        seconds = time.perf_counter() - began
    assert all(b" 200 " in status for status in statuses)
    for _, writer in streams:
        writer.close()
    return each, seconds


def _measure(rounds: int) -> tuple[list[Round], Table]:
    with tempfile.TemporaryDirectory() as name:
        valkey = Valkey(Path(name) / "valkey").start()
        variables = {"STOPLINE_REDIS_URL": valkey.url}
        gateway = GatewayProcess(variables, Path(name) / "gateway.log").start("--workers", "2")
        settings = Settings.load(redis_url=valkey.url)
        try:
            with StopClient(settings) as client:
                found = [_round(gateway, valkey, client, run) for run in range(rounds)]
            with valkey.client() as server:
                server.flushall()
            batches = {count: _batch(gateway, count) for count in LINES}
            with valkey.client() as server:
                server.flushall()
            waiters = asyncio.run(_wait_for_outcomes(gateway, settings))
        finally:
            gateway.kill()
            valkey.kill()
    return found, _table(found, batches, waiters)


def _table(
    found: list[Round], batches: dict[int, tuple[float, int]], waiters: tuple[float, float]
) -> Table:
    def spread(name: str, digits: int = 0) -> str:
        values = [getattr(one, name) for one in found]
        low, high = min(values), max(values)
        return f"{statistics.median(values):,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"

    ratio = statistics.median(one.posts_per_s / one.sent_plainly_per_s for one in found)
    table = Table("", f"median of {len(found)} rounds (least-most)")
    table.add_row(f"POST /v1/stops, {CONNECTIONS} connections, a second", spread("posts_per_s"))
    table.add_row("its p50, ms", spread("p50_ms", 1))
    table.add_row("its p99, ms", spread("p99_ms", 1))
    table.add_row("plain send_task, one at a time, a second", spread("sent_plainly_per_s"))
    table.add_row("the first by the last", f"{ratio:.1f}")
    table.add_row("one post alone, ms", spread("post_alone_ms", 2))
    table.add_row("one client.stop alone, ms", spread("client_alone_ms", 2))
    for count, (per_s, peak) in batches.items():
        table.add_row(
            f"a batch of {count:,} lines", f"{per_s:,.0f} lines/s, at most {peak / 1e6:.0f} MB"
        )
    each, seconds = waiters
    table.add_row(
        f"{WAITERS:,} that wait", f"{each / 1000:.1f} KB each; outcomes for all in {seconds:.1f} s"
    )
    return table


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        console.print("there is no wrk here: apt-get install wrk")
        return 2
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _, table = _measure(chosen.rounds)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
