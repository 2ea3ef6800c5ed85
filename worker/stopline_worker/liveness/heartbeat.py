"""What a worker's processes say of themselves, so that `stopline health` sees which stand still."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from stopline.contract import ProcessRole
from stopline.ledger import commands

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline.ledger.values import Command, Limits
    from stopline_worker.engine.engine import Engine
    from stopline_worker.liveness.consumption import Consumption
    from stopline_worker.process.served_lanes import ServedLanes
    from stopline_worker.upstream.api_watch import ApiWatch


def engine_id(worker: str, pid: int) -> str:
    """The id of the engine in a process of a worker."""
    return f"{worker}/{pid}"


def of_consumer(
    limits: Limits,
    worker: str,
    lanes: ServedLanes,
    engine_pids: Iterable[int],
    consumption: Consumption,
    *,
    broker_reachable: bool,
) -> Command[None]:
    """The heartbeat of the process that takes messages."""
    seen = consumption.is_observed
    fields = {
        **_process(ProcessRole.CONSUMER, lanes),
        "engines": [engine_id(worker, pid) for pid in engine_pids],
        "broker_reachable": broker_reachable if seen else None,
    }
    since_s = consumption.since_poll_s if seen else None
    return commands.beat(limits, worker, fields, {"consumed_at": since_s})


def of_engine(
    limits: Limits, worker: str, lanes: ServedLanes, engine: Engine, watch: ApiWatch
) -> Command[None]:
    """The heartbeat of a process that makes calls."""
    fields = {
        **_process(ProcessRole.ENGINE, lanes),
        "in_flight": engine.in_flight,
        "api": watch.state,
        "api_problem": watch.problem,
    }
    since_s = {"swept_at": engine.since_sweep_s, "api_failing_at": watch.failing_s or None}
    return commands.beat(limits, engine_id(worker, os.getpid()), fields, since_s)


def _process(role: ProcessRole, lanes: ServedLanes) -> dict[str, object]:
    return {
        "role": role,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "lanes": lanes.served,
        "paused": lanes.paused or None,
    }
