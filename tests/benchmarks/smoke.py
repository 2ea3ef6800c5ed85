"""The figures that do not depend on the machine's mood, against those that are stored.

    make bench-smoke            exits 1 where one is worse
    python -m tests.benchmarks.smoke --write     stores today's

Commands and bytes are counted by a real server; round trips and Python calls by the real engine on
virtual time, with an API that takes 50 ms and a ledger that takes one.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson
from rich.console import Console
from rich.table import Table

from stopline import Lane, Settings, StopClient
from stopline.contract import MESSAGE_IDS_MAX, OutcomeKind, StopRequest, Verdict
from stopline.ledger import Ledger, commands, keys
from stopline.ledger.limits import Limits
from stopline.ledger.values import Command, Ended, Record, Submission
from stopline.servers.connecting import connect
from stopline_worker.engine.attempt import Attempts
from stopline_worker.engine.backoff import Backoff
from stopline_worker.engine.clock import LedgerClock
from stopline_worker.engine.engine import Engine
from stopline_worker.upstream.api_token import ApiToken
from stopline_worker.upstream.api_watch import ApiWatch
from stopline_worker.upstream.reply import Reply
from stopline_worker.upstream.task_stop import TaskStopApi
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.worker import FixedLanes
from tests.support.size import ledger_bytes
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import redis

T = TypeVar("T")

STORED: Final = Path(__file__).with_name("smoke.json")
TOLERANCE: Final = 1.03
_REQUESTS: Final = 5_000
_SINGLES: Final = 100
_API_S: Final = 0.05
_LEDGER_S: Final = 0.001
LIMITS: Final = Limits()
COUNTED: Final = Limits(counts=True, recent_max=1_000)
"""As the settings have it; the rest is what a stop costs with all that is optional off."""
RECORD: Final = Record(Verdict.STOPPED, 52.3, http_status=200, code=200, message="stopped")
DETAIL: Final = "The API confirmed the stop."
_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


# --- the server --------------------------------------------------------------------------------


def submissions(count: int) -> list[Submission]:
    """Requests with ids as long as those of real ones, and always the same."""
    source = random.Random(17)
    return [
        Submission(
            StopRequest(
                user_id=f"{source.getrandbits(128):032x}",
                task_id=f"{source.getrandbits(128):032x}",
                lane=Lane.BULK,
                source="bench",
            ),
            place,
            "bulk-0123456789ab",
        )
        for place in range(count)
    ]


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), MESSAGE_IDS_MAX):
        yield items[first : first + MESSAGE_IDS_MAX]


class _Counters:
    """What the server did since the last look."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def commands(self) -> int:
        """Commands, those of scripts included."""
        stats: dict[str, Any] = self._client.info("commandstats")
        self._client.config_resetstat()
        ours = {"cmdstat_info", "cmdstat_config|resetstat"}
        return sum(one["calls"] for name, one in stats.items() if name not in ours)


def _of_the_server(ledger: Ledger) -> dict[str, float]:
    warm_up = submissions(1)
    for name in ("accept", "claim", "settle"):
        ledger.client.script_load(ledger.script(name).script)
    ledger.run(commands.accept(LIMITS, warm_up))
    found = _of_requests(ledger, LIMITS)
    counted = _of_requests(ledger, COUNTED)
    return found | {
        f"{name}_counted": figure for name, figure in counted.items() if "commands" in name
    }


def _of_requests(ledger: Ledger, limits: Limits) -> dict[str, float]:
    """What the server does for some requests, from their acceptance to their outcomes."""
    ledger.client.flushall()
    counters = _Counters(ledger.client)
    counters.commands()
    wanted = submissions(_REQUESTS)
    ids = [one.request.request_id for one in wanted]
    found = {}
    for chunk in _chunks(wanted):
        ledger.run(commands.accept(limits, chunk))
    found["redis_commands_per_accept"] = counters.commands() / _REQUESTS
    for chunk in _chunks(ids):
        ledger.run(commands.claim(limits, chunk, "0123abcd:1f"))
    found["redis_commands_per_claim"] = counters.commands() / _REQUESTS
    found["bytes_in_flight"] = ledger_bytes(ledger.client) / _REQUESTS
    counters.commands()  # those of measuring are nobody's
    for chunk in _chunks(ids):
        settlements = [
            Ended(one, "0123abcd:1f.1", RECORD, OutcomeKind.STOPPED, DETAIL) for one in chunk
        ]
        ledger.run(commands.settle(limits, settlements))
    found["redis_commands_per_settle"] = counters.commands() / _REQUESTS
    found["bytes_settled"] = ledger_bytes(ledger.client) / _REQUESTS
    return found


# --- the engine --------------------------------------------------------------------------------


class _CountingLedger:
    """The real ledger, a virtual millisecond away."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.round_trips = 0

    async def run(self, command: Command[T]) -> T:
        self.round_trips += 1
        await asyncio.sleep(_LEDGER_S / 2)
        reply = self._ledger.run(command)
        await asyncio.sleep(_LEDGER_S / 2)
        return reply


class _Confirming:
    """An HTTP client whose API confirms everything after 50 virtual milliseconds."""

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        assert url.startswith("http://127.0.0.1:1/agent-api/user/")
        assert headers["Authorization"] == "Bearer t0ken"
        await asyncio.sleep(_API_S)
        return Reply(200, b'{"status":"success","code":200,"message":"stopped"}')

    async def close(self) -> None:
        pass


def _engine(ledger: _CountingLedger, loop: VirtualLoop) -> Engine:
    token = ApiToken("t0ken")
    api = TaskStopApi(_Confirming(), "http://127.0.0.1:1")
    jitter = random.Random(17)
    attempts = Attempts(
        api, token, Backoff(0.5, 60), jitter, ApiWatch(loop.time), LedgerClock(loop.time)
    )
    return Engine(
        ledger,
        attempts,
        LIMITS,
        FixedLanes((Lane.BULK,)),
        max_in_flight=200,
        name="e",
        random=jitter,
    )


class _Calls:
    """Counts calls of Python and C functions while it is on."""

    def __init__(self) -> None:
        self.count = 0

    def _on_event(self, _frame: object, event: str, _argument: object) -> None:
        if event in {"call", "c_call"}:
            self.count += 1

    @contextmanager
    def counted(self) -> Iterator[None]:
        sys.setprofile(self._on_event)
        try:
            yield
        finally:
            sys.setprofile(None)


async def _until_landed(engine: Engine) -> None:
    while engine.in_flight:  # noqa: ASYNC110  # the engine tells nobody, and time is virtual
        await asyncio.sleep(0.001)  # the engine tells nobody, and time is virtual


async def _until_all_called(engine: Engine, ledger: Ledger, wanted: Sequence[Submission]) -> None:
    """A message names the first of a batch; the rest waits for its turns in the ledger."""
    await engine.submit([wanted[0].request.request_id], 60)
    while engine.in_flight or ledger.client.exists(keys.TURNS + Lane.BULK):  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # seldom: looking is counted, too; the engine tells nobody


async def run_bulk(ledger: Ledger, loop: VirtualLoop, count: int) -> None:
    """Have an engine call for so many requests; nothing is counted."""
    engine = _engine(_CountingLedger(ledger), loop)
    engine.start()
    wanted = submissions(count)
    for chunk in _chunks(wanted):
        ledger.run(commands.accept(LIMITS, chunk))
    await _until_all_called(engine, ledger, wanted)
    await engine.drain(1)


async def _run_engine(ledger: Ledger, loop: VirtualLoop, found: dict[str, float]) -> None:
    counting = _CountingLedger(ledger)
    engine = _engine(counting, loop)
    engine.start()
    wanted = submissions(_REQUESTS)
    for chunk in _chunks(wanted):
        ledger.run(commands.accept(LIMITS, chunk))
    counting.round_trips, calls = 0, _Calls()
    with calls.counted():
        await _until_all_called(engine, ledger, wanted)
    found["round_trips_per_bulk_stop"] = counting.round_trips / _REQUESTS
    found["python_calls_per_bulk_stop"] = calls.count / _REQUESTS
    counting.round_trips = 0
    for n in range(_SINGLES):
        single = Submission(StopRequest(user_id="single", task_id=str(n), lane=Lane.BULK))
        ledger.run(commands.accept(LIMITS, [single]))
        await engine.submit([single.request.request_id], 60)
        await _until_landed(engine)
    # Accepting is one more.
    found["round_trips_per_single_stop"] = counting.round_trips / _SINGLES + 1
    await engine.drain(1)


def _of_the_engine(ledger: Ledger) -> dict[str, float]:
    found: dict[str, float] = {}
    loop = VirtualLoop()
    loop.run(_run_engine(ledger, loop, found))
    return found


# --- the producer ------------------------------------------------------------------------------


def _of_the_producer(redis_url: str) -> dict[str, float]:
    requests = [{"user_id": "u", "task_id": str(n), "lane": "bulk"} for n in range(_REQUESTS)]
    with StopClient(Settings.load(redis_url=redis_url)) as client:
        client.stop_many(requests[:1], batch_id="warm-up")
        calls = _Calls()
        with calls.counted():
            client.stop_many(requests)
    return {"python_calls_per_accept": calls.count / _REQUESTS}


# --- comparison --------------------------------------------------------------------------------


def measure() -> dict[str, float]:
    """All figures of this state of the code."""
    with tempfile.TemporaryDirectory() as name:
        server = Valkey(Path(name) / "valkey").start()
        try:
            ledger = Ledger(connect(server.url))
            parts: tuple[Callable[[], dict[str, float]], ...] = (
                lambda: _of_the_server(ledger),
                lambda: _of_the_engine(ledger),
                lambda: _of_the_producer(server.url),
            )
            found: dict[str, float] = {}
            for part in parts:
                ledger.client.flushall()
                found |= part()
            ledger.close()
        finally:
            server.kill()
    return {name: round(value, 3) for name, value in found.items()}


def _compare(found: dict[str, float], stored: dict[str, Any]) -> list[str]:
    """The names of what is worse; prints a table."""
    table = Table("figure", "stored", "now", "")
    worse = []
    for name, value in found.items():
        before = stored["figures"].get(name)
        # Which calls Python counts changes with its versions.
        comparable = "python" not in name or stored["python"] == _PYTHON
        is_worse = before is None or (comparable and value > before * TOLERANCE)
        worse += [name] if is_worse else []
        words = "WORSE" if is_worse else "" if comparable else f"stored with {stored['python']}"
        table.add_row(name, str(before), str(value), words)
    Console().print(table)
    return worse


def main() -> int:
    """Measure, then store or compare."""
    found = measure()
    if "--write" in sys.argv:
        document = {"python": _PYTHON, "figures": found}
        STORED.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        sys.stdout.write(f"stored in {STORED.name}\n")
        return 0
    worse = _compare(found, orjson.loads(STORED.read_bytes()))
    if worse:
        sys.stderr.write(
            f"bench-smoke: worse than stored: {', '.join(worse)}. If that is meant, say why in the "
            "commit message, and store it: make bench-smoke WRITE=1\n"
        )
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
