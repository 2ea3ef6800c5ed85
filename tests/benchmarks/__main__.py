"""The comparison of Stopline with its peers: `make bench`.

    python -m tests.benchmarks --rounds 3 --write        everything, to docs/benchmarks.md
    python -m tests.benchmarks --only stopline-bulk,bullmq --latencies 0 --rounds 5

Rounds are interleaved, A B C A B C, so that the machine's drift meets all alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
from rich.console import Console

from tests.benchmarks.contestants import CONTESTANTS, ENVIRONMENTS
from tests.benchmarks.environments import install, install_node
from tests.benchmarks.report import Results, write
from tests.benchmarks.rounds import Bench, Conditions, Drain, TimesToStop
from tests.benchmarks.target import Target
from tests.conftest import free_port
from tests.support.rabbitmq import RabbitMq, is_installed
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.benchmarks.contestants import Contestant

CONDITIONS: Final = {
    0.0: Conditions(latency_ms=0, count=10_000, connections=200, processes=2),
    50.0: Conditions(latency_ms=50, count=10_000, connections=400, processes=2),
    500.0: Conditions(latency_ms=500, count=2_000, connections=400, processes=2),
}
_PACED: Final = 200
_LOADED: Final = Conditions(latency_ms=0, count=100_000, connections=200, processes=2)
_LOADED_SLOWLY: Final = Conditions(latency_ms=0, count=10_000, connections=200, processes=2)
_ENQUEUES_FAST: Final = {"stopline-bulk", "stopline-send-task", "saq-aiohttp", "streaq", "bullmq"}
"""The others would take minutes for a hundred thousand, and are not over sooner with ten."""
_URGENT: Final = {"stopline-bulk", "stopline-send-task"}
"""Of Stopline's ways in: urgent ones by `client.stop` and by plain `send_task`, beside a bulk."""

console = Console(highlight=False, stderr=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="names, with commas between them", default="")
    parser.add_argument("--latencies", default=",".join(f"{one:g}" for one in CONDITIONS))
    parser.add_argument("--no-times", action="store_true", help="leave out times to stop")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args()


def _installed(names: Sequence[str]) -> list[Contestant]:
    unknown = [name for name in names if name not in CONTESTANTS]
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(unknown)}; there are {', '.join(CONTESTANTS)}\n")
        raise SystemExit(2)
    chosen = [CONTESTANTS[name] for name in names or CONTESTANTS]
    ready = []
    for one in chosen:
        if one.rabbitmq and not is_installed():
            console.print(f"no rabbitmq-server here: {one.name} is left out")
            continue
        if one.library == "bullmq":
            if not install_node():
                console.print("no node and npm here: BullMQ is left out")
                continue
        elif one.library is not None:
            install(one.library)
        ready.append(one)
    return ready


def _drain(bench: Bench, contestant: Contestant, conditions: Conditions) -> Drain:
    drained = bench.drain(contestant, conditions)
    console.print(
        f"  {contestant.name:20} {conditions.latency_ms:g} ms  "
        f"{drained.stops_per_s:8,.0f} stops/s  {drained.enqueued_per_s:8,.0f} enqueued/s"
    )
    return drained


def _times(
    results: dict[str, TimesToStop], contestant: Contestant, measure: Callable[[], TimesToStop]
) -> None:
    times = measure()
    results[contestant.name] = times
    console.print(
        f"  {contestant.name:20} time to stop: p50 {times.percentile(0.5):.1f} ms, "
        f"p99 {times.percentile(0.99):.1f} ms"
    )


def _measure(bench: Bench, contestants: list[Contestant], chosen: argparse.Namespace) -> Results:
    latencies = [float(one) for one in chosen.latencies.split(",")]
    drains: defaultdict[float, defaultdict[str, list[Drain]]] = defaultdict(
        lambda: defaultdict(list)
    )
    idle: dict[str, TimesToStop] = {}
    loaded: dict[str, TimesToStop] = {}
    if not chosen.no_times:
        for one in contestants:
            _times(idle, one, lambda one=one: bench.idle_times(one, CONDITIONS[0.0], _PACED))  # type: ignore[misc]
        for one in contestants:
            if one.rabbitmq or (one.is_stopline and one.name not in _URGENT):
                continue
            conditions = _LOADED if one.name in _ENQUEUES_FAST else _LOADED_SLOWLY
            bulk_by = CONTESTANTS["stopline-bulk"] if one.is_stopline else one
            _times(
                loaded,
                one,
                lambda one=one, load=conditions, bulk=bulk_by: bench.loaded_times(  # type: ignore[misc]
                    one, load, _PACED, bulk
                ),
            )
    for number in range(chosen.rounds):
        for latency in latencies:
            console.print(f"round {number + 1} of {chosen.rounds}, {latency:g} ms")
            for one in contestants:
                drains[latency][one.name].append(_drain(bench, one, CONDITIONS[latency]))
    return Results(
        {latency: dict(found) for latency, found in drains.items()},
        idle,
        loaded,
        {latency: CONDITIONS[latency] for latency in latencies},
    )


@contextmanager
def _rabbitmq(contestants: list[Contestant], directory: Path) -> Iterator[RabbitMq | None]:
    """A RabbitMQ, if anybody needs one."""
    if not any(one.rabbitmq for one in contestants):
        yield None
        return
    broker = RabbitMq(directory / "rabbitmq", free_port(), free_port(), free_port())
    try:
        yield broker.start()
    finally:
        broker.stop()


def main() -> int:
    """Measure, save, and write."""
    chosen = _arguments()
    contestants = _installed([name for name in chosen.only.split(",") if name])
    with (
        tempfile.TemporaryDirectory() as name,
        Target(Path(name)) as target,
        _rabbitmq(contestants, Path(name)) as rabbitmq,
    ):
        server = Valkey(Path(name) / "valkey").start()
        try:
            client = server.client(socket_timeout=60)
            bench = Bench(client, server.url, target, Path(name), rabbitmq)
            results = _measure(bench, contestants, chosen)
            version = bench.server.info("server")["valkey_version"]
        finally:
            server.kill()
    ENVIRONMENTS.mkdir(exist_ok=True)
    saved = ENVIRONMENTS / "results.json"
    saved.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    sys.stdout.write(write(results, f"Valkey {version}", to_docs=chosen.write))
    return 0


if __name__ == "__main__":
    sys.exit(main())
