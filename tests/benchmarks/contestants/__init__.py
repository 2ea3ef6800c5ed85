"""The contestants: how each is started, what it lacks, and how it tells what it has recorded."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stopline.contract import Lane
from stopline.ledger import keys

if TYPE_CHECKING:
    import redis

    from tests.benchmarks.rounds import Conditions

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
ENVIRONMENTS: Final = ROOT / ".bench"
NODE_DIRECTORY: Final = ENVIRONMENTS / "bullmq"
ALL: Final = 1 << 60
"""What `recorded` gives where the server can only tell that nothing is left to do."""

Commands = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to make many calls from a queue.

    Attributes:
        name: for the command line and logs.
        title: for people.
        library: its environment; None is Stopline's own.
        producer: the command to which `enqueue …` or `pace …` is added.
        workers: the commands that serve a queue.
        recorded: how many results the server has.
        lacks: what of Stopline's promises it does not make.
        connections_max: it is faster with no more than so many connections a process, by latency.
        environment: variables for its processes.
        directory: where they run.
        rabbitmq: whether its broker is a RabbitMQ.
    """

    name: str
    title: str
    library: str | None
    producer: Sequence[str]
    workers: Callable[[Conditions, str], Commands]
    recorded: Callable[[redis.Redis], int]
    lacks: str = ""
    connections_max: dict[float, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path = ROOT
    rabbitmq: bool = False

    @property
    def is_stopline(self) -> bool:
        return self.library is None

    @property
    def is_python(self) -> bool:
        return self.name != "bullmq"


def _processes(conditions: Conditions, queue: str) -> int:
    return 1 if queue == "urgent" else conditions.processes


# --- Stopline ----------------------------------------------------------------------------------


def _stopline_workers(conditions: Conditions, queue: str) -> Commands:
    lane = Lane.EMERGENCY if queue == "urgent" else Lane.BULK
    command = [sys.executable, "-m", "stopline.cli", "worker", "--log-level", "warning"]
    concurrency = str(_processes(conditions, queue))
    return [[*command, "--lane", lane.value, "--concurrency", concurrency]]


def _nothing_due(server: redis.Redis) -> int:
    """An open request is in the due index of its lane, and only there."""
    return 0 if any(server.zcard(keys.due(lane)) for lane in Lane) else ALL


_HTTPX_CONNECTIONS: Final = {0.0: 8, 50.0: 32, 500.0: 128}
"""httpx's pool looks through all its connections for each request (encode/httpx#3215)."""


def _stopline(way: str, title: str, *, httpx: bool = False, rabbitmq: bool = False) -> Contestant:
    suffix = "-httpx" if httpx else "-rabbitmq" if rabbitmq else ""
    return Contestant(
        name=f"stopline-{way}{suffix}",
        title=title,
        library=None,
        producer=[sys.executable, str(HERE / "stopline_peer.py"), way],
        workers=_stopline_workers,
        recorded=_nothing_due,
        lacks="—",
        connections_max=_HTTPX_CONNECTIONS if httpx else {},
        environment={"STOPLINE_HTTP_CLIENT": "httpx"} if httpx else {},
        rabbitmq=rabbitmq,
    )


# --- Python peers ------------------------------------------------------------------------------


def _program(library: str, name: str) -> str:
    return str(ENVIRONMENTS / library / "bin" / name)


def _one_key_each(server: redis.Redis) -> int:
    """Libraries whose waiting jobs are in a list or stream: each result is one key more."""
    return int(server.dbsize())


def _celery(pool: str, processes: int | None, *, rabbitmq: bool = False) -> Contestant:
    def workers(conditions: Conditions, queue: str) -> Commands:
        celery = [_program("celery", "celery"), "-A", "celery_peer", "worker", "-l", "WARNING"]
        celery += ["-Q", queue, "--without-gossip", "--without-mingle"]
        if processes is not None:  # one call at a time in each of its processes
            wanted = min(processes, conditions.connections)
            return [[*celery, "-P", pool, "-c", str(wanted), "-n", f"{queue}@%h"]]
        per_process = conditions.connections // conditions.processes
        return [
            [*celery, "-P", pool, "-c", str(per_process), "-n", f"{queue}{n}@%h"]
            for n in range(_processes(conditions, queue))
        ]

    return Contestant(
        name=f"celery-{pool}-rabbitmq" if rabbitmq else f"celery-{pool}",
        title=f"Celery, {pool}, RabbitMQ" if rabbitmq else f"Celery, {pool}",
        library="celery",
        producer=[_program("celery", "python"), "celery_peer.py"],
        workers=workers,
        recorded=_one_key_each,
        lacks="dedup; a job survives its worker only after an hour; attempts; dead letters",
        directory=HERE,
        rabbitmq=rabbitmq,
    )


def _taskiq_workers(conditions: Conditions, queue: str) -> Commands:
    taskiq = _program("taskiq", "taskiq")
    per_process = str(conditions.connections // conditions.processes)
    quiet = ["--log-level", "WARNING"]
    worker = [taskiq, "worker", "taskiq_peer:broker", "--max-async-tasks", per_process, *quiet]
    scheduler = [taskiq, "scheduler", "taskiq_peer:scheduler", "--update-interval", "1", *quiet]
    return [[*worker, "--workers", str(_processes(conditions, queue))], scheduler]


def _dramatiq_workers(conditions: Conditions, queue: str) -> Commands:
    threads = str(conditions.connections // conditions.processes)
    command = [_program("dramatiq", "dramatiq"), "dramatiq_peer:broker", "-t", threads]
    return [[*command, "-p", str(_processes(conditions, queue)), "-Q", queue]]


def _arq_workers(conditions: Conditions, queue: str) -> Commands:
    command = [_program("arq", "arq"), "arq_peer.WorkerSettings", "--custom-log-dict"]
    return [[*command, "arq_peer.LOG"]] * _processes(conditions, queue)


def _saq_workers(conditions: Conditions, queue: str) -> Commands:
    command = [_program("saq", "saq"), "saq_peer.settings", "--quiet"]
    return [command] * _processes(conditions, queue)


def _saq_recorded(server: redis.Redis) -> int:
    """A job's record becomes its result; until then it is in `incomplete`."""
    return 0 if server.zcard("saq:bulk:incomplete") else ALL


def _streaq_workers(conditions: Conditions, queue: str) -> Commands:
    command = [_program("streaq", "streaq"), "run", "streaq_peer:worker"]
    return [command] * _processes(conditions, queue)


def _asyncio_peer(
    library: str,
    title: str,
    workers: Callable[[Conditions, str], Commands],
    recorded: Callable[[redis.Redis], int],
    lacks: str,
    *,
    aiohttp: bool = False,
) -> Contestant:
    return Contestant(
        name=f"{library}-aiohttp" if aiohttp else library,
        title=f"{title}, aiohttp for httpx" if aiohttp else title,
        library=library,
        producer=[_program(library, "python"), f"{library}_peer.py"],
        workers=workers,
        recorded=recorded,
        lacks=lacks,
        connections_max={} if aiohttp else _HTTPX_CONNECTIONS,
        environment={"BENCH_HTTP": "aiohttp"} if aiohttp else {},
        directory=HERE,
    )


_SAQ_LACKS: Final = "dedup of what has finished; attempts; a dead job's record stays an hour"

# --- Node --------------------------------------------------------------------------------------


def _bullmq_workers(conditions: Conditions, queue: str) -> Commands:
    node = shutil.which("node") or "node"
    return [[node, "peer.mjs", "worker"]] * _processes(conditions, queue)


def _bullmq_recorded(server: redis.Redis) -> int:
    return int(server.zcard("bull:bulk:completed"))


CONTESTANTS: Final = {
    one.name: one
    for one in (
        _stopline("bulk", "Stopline, bulk"),
        _stopline("bulk", "Stopline, bulk, httpx", httpx=True),
        _stopline("client", "Stopline, `client.stop`"),
        _stopline("threads", "Stopline, `client.stop` from 32 threads"),
        _stopline("coroutines", "Stopline, `client.stop` from 200 coroutines"),
        _stopline("send-task", "Stopline, plain `send_task`"),
        _stopline("send-task", "Stopline, plain `send_task`, httpx", httpx=True),
        _stopline("send-task", "Stopline, plain `send_task`, RabbitMQ", rabbitmq=True),
        _celery("prefork", 64),
        _celery("threads", None),
        _celery("prefork", 64, rabbitmq=True),
        Contestant(
            name="dramatiq",
            title="dramatiq",
            library="dramatiq",
            producer=[_program("dramatiq", "python"), "dramatiq_peer.py"],
            workers=_dramatiq_workers,
            recorded=_one_key_each,
            lacks="dedup; attempts (the last traceback only)",
            directory=HERE,
        ),
        _asyncio_peer(
            "taskiq",
            "taskiq",
            _taskiq_workers,
            _one_key_each,
            "dedup; attempts; dead letters; jobs of a lost worker come back with new ones only",
        ),
        _asyncio_peer(
            "arq",
            "arq",
            _arq_workers,
            lambda server: server.dbsize() if not server.zcard("arq:queue:bulk") else 0,
            "attempts (a count only); dead letters",
        ),
        _asyncio_peer("saq", "SAQ", _saq_workers, _saq_recorded, _SAQ_LACKS),
        _asyncio_peer("saq", "SAQ", _saq_workers, _saq_recorded, _SAQ_LACKS, aiohttp=True),
        _asyncio_peer(
            "streaq",
            "streaQ",
            _streaq_workers,
            lambda server: int(server.zcard("streaq:bulk:index:results")),
            "dedup of what has finished; attempts (a count only); dead letters",
        ),
        Contestant(
            name="bullmq",
            title="BullMQ and undici (Node)",
            library="bullmq",
            producer=[shutil.which("node") or "node", "peer.mjs"],
            workers=_bullmq_workers,
            recorded=_bullmq_recorded,
            lacks="attempts that did not fail; a second lost worker fails the job",
            directory=NODE_DIRECTORY,
        ),
    )
}
