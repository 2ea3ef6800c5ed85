"""What the archive carries: outcomes a second into it, and how long a query takes over many rows.

make bench-archive                  10,000,000 rows, in SQLite and PostgreSQL; a quarter of an hour
make bench-archive ROWS=100000
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from stopline import Settings, StopClient
from stopline.contract import to_microseconds
from stopline_archive.archive import Archive
from stopline_archive.places import HistoryFilter
from stopline_archive.tables import outcomes
from tests.conftest import free_port
from tests.outcomes.made import outcome
from tests.support.postgres import Postgres
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator

_OUTCOMES: Final = 60_000
_LEAST_PER_S: Final = 5_000
_MOST_MS: Final = 50.0
_TASKS: Final = 1_000_000
_PIECE: Final = 20_000
_QUERIES: Final = 50
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)

console = Console(highlight=False)


def _tell(name: str, value: str, *, good: bool) -> bool:
    console.print(f"{'✓' if good else '✗'} {name}: {value}")
    return good


def _into(url: str, directory: Path) -> bool:
    """From the stream, where all wait already, by the real process, to the last acknowledged."""
    server = Valkey(directory / f"valkey-{free_port()}").start()
    try:
        with StopClient(Settings.load(redis_url=server.url)) as client:
            variables = {"STOPLINE_REDIS_URL": server.url, "STOPLINE_ARCHIVE_URL": url}
            command = [sys.executable, "-m", "stopline.cli", "outcomes", "run"]
            process = _started(command, variables, directory)
            while not client.sinks.view().views:
                time.sleep(0.05)
            process.kill()
            process.wait()
            requests = [{"user_id": "u", "task_id": str(n)} for n in range(_OUTCOMES)]
            client.stop_many(requests, batch_id="b")
            client.cancel_batch("b")
            process = _started(command, variables, directory)
            while client.sinks.view().views[0].waiting == _OUTCOMES:
                time.sleep(0.01)
            started = time.monotonic()
            while client.sinks.view().views[0].waiting:
                time.sleep(0.02)
            per_s = _OUTCOMES / (time.monotonic() - started)
            process.kill()
            process.wait()
    finally:
        server.kill()
    return _tell("outcomes into it", f"{per_s:,.0f} a second", good=per_s >= _LEAST_PER_S)


def _started(
    command: list[str], variables: dict[str, str], directory: Path
) -> subprocess.Popen[bytes]:
    with (directory / "outcomes.log").open("ab") as log:
        return subprocess.Popen(
            command, env={**os.environ, **variables}, cwd=directory, stdout=log, stderr=log
        )


def _rows(count: int) -> Iterator[list[dict[str, Any]]]:
    """Rows of a year: a million tasks, some of them often."""
    source = random.Random(17)
    made = outcome(1).model_dump_json()
    for first in range(0, count, _PIECE):
        yield [
            {
                "request_id": f"{n:012d}",
                "user_id": f"u{source.randrange(10_000)}",
                "task_id": f"t{source.randrange(_TASKS)}",
                "sub_user_id": None,
                "lane": "bulk",
                "source": f"s{source.randrange(50)}",
                "batch_id": f"b{n // 10_000}",
                "outcome": "stopped" if source.random() < 0.97 else "expired",
                "attempts": 1,
                "accepted_at": to_microseconds(_START) + n * 3_000_000,
                "finished_at": to_microseconds(_START) + n * 3_000_000,
                "document": made,
            }
            for n in range(first, min(first + _PIECE, count))
        ]


def _fill(url: str, count: int) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA synchronous=OFF"))
    done = 0
    started = time.monotonic()
    for some in _rows(count):
        with engine.begin() as connection:
            connection.execute(outcomes.insert(), some)
        done += len(some)
        if console.is_terminal:
            console.print(f"  {done:,} of {count:,} rows", end="\r")
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE outcomes"))
    engine.dispose()
    console.print(f"  {done:,} rows in {time.monotonic() - started:,.0f} s")


def _queries(archive: Archive, count: int) -> bool:
    source = random.Random(18)
    middle = _START + timedelta(seconds=3 * count // 2)
    kinds = {
        "by task": lambda: HistoryFilter(task_id=f"t{source.randrange(_TASKS)}"),
        "by user": lambda: HistoryFilter(user_id=f"u{source.randrange(10_000)}"),
        "by source, until then": lambda: HistoryFilter(
            source=f"s{source.randrange(50)}", until=middle
        ),
        "by batch": lambda: HistoryFilter(batch_id=f"b{source.randrange(max(1, count // 10_000))}"),
        "the newest": HistoryFilter,
    }
    well = True
    for name, make in kinds.items():
        took = []
        for _ in range(_QUERIES):
            wanted = make()
            started = time.monotonic()
            archive.page(wanted, limit=50)
            took.append((time.monotonic() - started) * 1000)
        worst = max(took[1:])
        value = f"median {statistics.median(took):.1f} ms, at most {worst:.1f} ms"
        well &= _tell(f"a page {name}", value, good=name != "by task" or worst <= _MOST_MS)
    return well


def _measure(url: str, count: int, directory: Path) -> bool:
    archive = Archive(make_url(url))
    archive.prepare()
    well = _into(url, directory)
    _fill(url, count)
    well &= _queries(archive, count)
    archive.close()
    return well


def main() -> int:
    """Both databases; 1 where one is too slow."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(prefix="stopline-archive-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        console.print("SQLite")
        well = _measure(f"sqlite:///{directory / 'archive.db'}", count, directory)
        (directory / "archive.db").unlink()
        console.print("PostgreSQL")
        server = Postgres(directory / "postgres", free_port()).start()
        try:
            url = server.url.replace("postgresql:", "postgresql+psycopg:")
            well &= _measure(url, count, directory)
        finally:
            server.kill()
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
