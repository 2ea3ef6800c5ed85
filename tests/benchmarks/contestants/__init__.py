"""The contestants: how each is started, and how it tells what it has recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stopline.ledger import keys

if TYPE_CHECKING:
    import redis

    from tests.benchmarks.rounds import Conditions

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]

Commands = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to make many calls from a queue.

    Attributes:
        name: for the command line and logs.
        title: for people.
        producer: the command to which `enqueue …` or `pace …` is added.
        workers: the commands that serve a queue.
        recorded: how many results the server has.
        lacks: what of Stopline's promises it does not make.
    """

    name: str
    title: str
    producer: Sequence[str]
    workers: Callable[[Conditions, str], Commands]
    recorded: Callable[[redis.Redis], int]
    lacks: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path = ROOT


def _stopline_workers(conditions: Conditions, queue: str) -> Commands:
    lane = "emergency" if queue == "urgent" else "bulk"
    processes = 1 if queue == "urgent" else conditions.processes
    command = [sys.executable, "-m", "stopline.cli", "worker", "--log-level", "warning"]
    return [[*command, "--lane", lane, "--concurrency", str(processes)]]


def _settled(server: redis.Redis) -> int:
    """Targets remain, open requests do not: what is settled is what is not due any more."""
    due = sum(int(server.zcard(keys.DUE + lane)) for lane in ("emergency", "default", "bulk"))
    return 1 << 60 if due == 0 else 0


def _stopline(way: str, title: str) -> Contestant:
    return Contestant(
        name=f"stopline-{way}",
        title=title,
        producer=[sys.executable, str(HERE / "stopline_peer.py"), way],
        workers=_stopline_workers,
        recorded=_settled,
    )


CONTESTANTS: Final = {
    one.name: one
    for one in (
        _stopline("bulk", "Stopline, bulk"),
        _stopline("client", "Stopline, `client.stop`"),
        _stopline("send-task", "Stopline, plain `send_task`"),
    )
}
