"""The console on a large ledger: `make bench-console`.

A million open requests and 100,000 dead letters. For each page the time to its first byte; for each
list query what its script takes of the server, by the server's own count; and what the server is
asked a second by the overview, with many viewers.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import redis
from rich.console import Console
from rich.table import Table

from stopline import Lane, StopRequest
from stopline.contract import OutcomeKind, RequestFilter, Verdict
from stopline.ledger import Ledger, commands, overviews
from stopline.ledger.limits import Limits
from stopline.ledger.values import Ended, Record, Submission
from tests.support.processes import GatewayProcess
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGES: Final = (
    *("", "requests", "requests?source=source-7", "requests?user_id=u77&task_id=t77"),
    *("requests?state=waiting", "requests?list=ended", "batches", "batches/large"),
    *("dead", "dead?kind=rejected&user_id=u5", "workers", "audit"),
)
QUERIES: Final = {
    "the first page": RequestFilter(),
    "of a source": RequestFilter(source="source-7"),
    "of a task": RequestFilter(user_id="u77", task_id="t77"),
    "that nothing is": RequestFilter(source="nobody"),
    "of a batch": RequestFilter(batch_id="large"),
}
VIEWERS: Final = 20
_SECONDS: Final = 10
_CHUNK: Final = 250
_LIMITS: Final = Limits(counts=True, recent_max=1_000, deadline_s=86_400)
_REJECTED: Final = Record(Verdict.REJECTED, duration_ms=41.0, http_status=400, code=400)
console = Console(highlight=False)


def _chunks(count: int) -> Iterator[range]:
    for first in range(0, count, _CHUNK):
        yield range(first, min(count, first + _CHUNK))


def _accept(ledger: Ledger, numbers: Sequence[int], prefix: str) -> list[str]:
    requests = [
        StopRequest(
            user_id=f"u{number % 1_000}",
            task_id=f"{prefix}{number}",
            lane=Lane.BULK if number % 10 else Lane.DEFAULT,
            source=f"source-{number % 5_000}",
            batch_id="large" if number % 1_000 == 0 else None,
        )
        for number in numbers
    ]
    ledger.run(commands.accept(_LIMITS, [Submission(one) for one in requests]))
    return [one.request_id for one in requests]


def fill(ledger: Ledger, open_: int, dead: int) -> None:
    """Make open requests and dead letters, as clients and workers would."""
    for number, chunk in enumerate(_chunks(dead)):
        ids = _accept(ledger, chunk, "d")
        token = f"bench:{number}"
        ledger.run(commands.claim(_LIMITS, ids, token))
        ended = [
            Ended(one, f"{token}.1", _REJECTED, OutcomeKind.REJECTED, f"Rejected {one} (HTTP 400).")
            for one in ids
        ]
        ledger.run(commands.settle(_LIMITS, ended))
    for chunk in _chunks(open_):
        _accept(ledger, chunk, "t")


def _first_byte_ms(url: str, path: str) -> float:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.connect()
    began = time.perf_counter()
    connection.request("GET", f"/console/{path}")
    reply = connection.getresponse()
    reply.read(1)
    took = (time.perf_counter() - began) * 1_000
    reply.read()
    connection.close()
    if reply.status != http.HTTPStatus.OK:
        sys.exit(f"{path}: {reply.status}")
    return took


def _script_us(client: redis.Redis) -> tuple[int, int]:
    stats: dict[str, Any] = client.info("commandstats")
    found = [one for name, one in stats.items() if name.startswith("cmdstat_evalsha")]
    return sum(one["calls"] for one in found), sum(one["usec"] for one in found)


def _query_ms(ledger: Ledger, wanted: RequestFilter) -> float:
    """The most that one call of a page took of the server."""
    worst = 0.0
    place: Any = overviews.OpenPlace(Lane.BULK)
    for _ in range(20):
        _, before = _script_us(ledger.client)
        page = ledger.run(overviews.open_page(wanted, place, 50))
        _, after = _script_us(ledger.client)
        worst = max(worst, (after - before) / 1_000)
        place = page.place
        if place is None:
            break
    return worst


@contextmanager
def _viewers(url: str) -> Iterator[None]:
    """Some who look at the overview, as browsers do."""
    is_over = threading.Event()

    def watch() -> None:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        connection.request("GET", "/console/live/")
        reply = connection.getresponse()
        with suppress(OSError, ValueError, http.client.HTTPException):  # the gateway ends first
            while not is_over.is_set() and reply.read1(65_536):
                pass
        connection.close()

    threads = [threading.Thread(target=watch, daemon=True) for _ in range(VIEWERS)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    yield
    is_over.set()


def _calls_a_second(client: redis.Redis) -> float:
    """What the server is asked a second; what scripts do inside is none of it."""
    asked = 0
    with client.monitor() as monitor:
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            asked += monitor.next_command()["client_type"] != "lua"
    return asked / _SECONDS


def main() -> int:
    """Fill a ledger, and look at it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--open", type=int, default=1_000_000)
    parser.add_argument("--dead", type=int, default=100_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = Valkey(Path(directory) / "valkey").start()
        gateway = GatewayProcess(
            {**os.environ, "STOPLINE_REDIS_URL": server.url}, Path(directory) / "gateway.log"
        )
        try:
            client = redis.Redis.from_url(server.url)
            ledger = Ledger(client)
            fill(ledger, chosen.open, chosen.dead)
            gateway.start()
            table = Table("what", "found", title=f"{chosen.open:,} open, {chosen.dead:,} dead")
            for path in PAGES:
                times = sorted(_first_byte_ms(gateway.url, path) for _ in range(5))
                table.add_row(
                    f"/console/{path}, first byte", f"{times[2]:.0f} ms ({times[-1]:.0f})"
                )
            for name, wanted in QUERIES.items():
                table.add_row(f"requests {name}, one call", f"{_query_ms(ledger, wanted):.1f} ms")
            with _viewers(gateway.url):
                calls = _calls_a_second(client)
            table.add_row(f"calls a second with {VIEWERS} viewers", f"{calls:.1f}")
            console.print(table)
        finally:
            gateway.kill()
            server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
