"""Where the CPU of a stop goes, step by step, in microseconds: `make budget`.

CPU time of this process and of the server, not time by the clock: a machine that is busy otherwise
makes it little worse.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from rich.console import Console
from rich.table import Table

from stopline import Settings, StopClient
from stopline.contract import OutcomeKind
from stopline.ledger import Ledger, commands
from stopline.ledger.limits import Limits
from stopline.ledger.values import Ended
from stopline.servers.connecting import connect
from stopline_worker.upstream.client_choice import http_client_of
from tests.benchmarks import smoke
from tests.benchmarks.target import Target
from tests.simulation.virtual_loop import VirtualLoop
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SIZES: Final = (1, 16, 64, 250)
_REQUESTS: Final = 4_000
_CALLS: Final = 10_000
_AT_A_TIME: Final = 100
_LIMITS: Final = Limits(queues_here=True)


def _pieces(items: Sequence[object], size: int) -> Iterator[Sequence[object]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _server_us(ledger: Ledger, count: int, work: Callable[[], None]) -> float:
    """Microseconds that the server spends in scripts, for one request."""
    ledger.client.config_resetstat()
    work()
    stats = ledger.client.info("commandstats")
    return float(stats["cmdstat_evalsha"]["usec"]) / count


def _of_the_server(ledger: Ledger, size: int) -> dict[str, float]:
    ledger.client.flushdb()
    count = _REQUESTS if size > 1 else _REQUESTS // 4
    submissions = smoke.submissions(count)
    ids = [one.request.request_id for one in submissions]

    def accept() -> None:
        for some in _pieces(submissions, size):
            ledger.run(commands.accept(_LIMITS, some))  # type: ignore[arg-type]  # of submissions

    def claim() -> None:
        for some in _pieces(ids, size):
            ledger.run(commands.claim(_LIMITS, some, "0123abcd:1f"))  # type: ignore[arg-type]  # of ids

    def settle() -> None:
        for some in _pieces(ids, size):
            settlements = [
                Ended(str(one), "0123abcd:1f.1", smoke.RECORD, OutcomeKind.STOPPED, smoke.DETAIL)
                for one in some
            ]
            ledger.run(commands.settle(_LIMITS, settlements))

    return {work.__name__: _server_us(ledger, count, work) for work in (accept, claim, settle)}


def _producer_us(url: str) -> float:
    requests = [{"user_id": "u", "task_id": str(n), "lane": "bulk"} for n in range(_REQUESTS)]
    with StopClient(Settings.load(redis_url=url)) as client:
        client.stop_many(requests[:1], batch_id="warm-up")
        began = time.process_time()
        client.stop_many(requests)
        return (time.process_time() - began) / _REQUESTS * 1e6


def _engine_us(ledger: Ledger) -> float:
    """The engine with its ledger commands, without HTTP and without sockets of asyncio."""
    ledger.client.flushdb()
    loop = VirtualLoop()
    began = time.process_time()
    loop.run(smoke.run_bulk(ledger, loop, _REQUESTS))
    return (time.process_time() - began) / _REQUESTS * 1e6


def _http_us(url: str) -> float:
    """The HTTP client alone: a hundred at a time, of an API that takes no time."""

    async def main() -> float:
        client = http_client_of(Settings.load(api_url=url))
        headers = {"Authorization": "Bearer x"}

        async def call(count: int) -> None:
            for n in range(count):
                await client.get(f"{url}/agent-api/user/u/task_stop/{n}", headers)

        await call(10)
        began = time.process_time()
        await asyncio.gather(*(call(_CALLS // _AT_A_TIME) for _ in range(_AT_A_TIME)))
        took = time.process_time() - began
        await client.close()
        return took / _CALLS * 1e6

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, Target(Path(name)) as target:
        server = Valkey(Path(name) / "valkey").start()
        try:
            ledger = Ledger(connect(server.url))
            table = Table("server: µs per request", *(f"{size} a call" for size in _SIZES))
            found = [_of_the_server(ledger, size) for size in _SIZES]
            for step in found[0]:
                table.add_row(step, *(f"{one[step]:.0f}" for one in found))
            table.add_row("together", *(f"{sum(one.values()):.0f}" for one in found))
            Console().print(table)
            ours = Table("this side: µs per request", "")
            ours.add_row(
                "producer: check, encode, send, read (bulk)", f"{_producer_us(server.url):.0f}"
            )
            ours.add_row("engine: claim, attempt, verdict, settle", f"{_engine_us(ledger):.0f}")
            ours.add_row("HTTP client: one call", f"{_http_us(target.url):.0f}")
            Console().print(ours)
            ledger.close()
        finally:
            server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
