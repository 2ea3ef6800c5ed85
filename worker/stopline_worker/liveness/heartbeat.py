"""What a worker's processes say of themselves, so that `stopline health` sees which stand still."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import stopline
from stopline.contract import Beat, ProcessRole, engine_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline_worker.engine.engine import Engine
    from stopline_worker.engine.ports import Lanes
    from stopline_worker.liveness.consumption import Consumption
    from stopline_worker.upstream.api_watch import ApiWatch


def of_consumer(
    worker: str,
    lanes: Lanes,
    engine_pids: Iterable[int],
    consumption: Consumption,
    *,
    broker_reachable: bool,
) -> Beat:
    """What the process says of itself that takes messages."""
    seen = consumption.is_observed
    return Beat(
        version=stopline.__version__,
        process_id=worker,
        role=ProcessRole.CONSUMER,
        host=socket.gethostname(),
        pid=os.getpid(),
        lanes=lanes.served,
        paused=lanes.paused,
        engines=tuple(engine_id(worker, pid) for pid in engine_pids),
        broker_reachable=broker_reachable if seen else None,
        since_consumed_s=consumption.since_poll_s if seen else None,
    )


def of_engine(worker: str, lanes: Lanes, engine: Engine, watch: ApiWatch) -> Beat:
    """What a process says of itself that makes calls."""
    return Beat(
        version=stopline.__version__,
        process_id=engine_id(worker, os.getpid()),
        role=ProcessRole.ENGINE,
        host=socket.gethostname(),
        pid=os.getpid(),
        lanes=lanes.served,
        paused=lanes.paused,
        in_flight=engine.in_flight,
        api=watch.state,
        api_problem=watch.problem,
        since_swept_s=engine.since_sweep_s,
        since_api_failing_s=watch.failing_s or None,
    )
