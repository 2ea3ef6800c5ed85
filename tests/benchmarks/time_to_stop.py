"""Time-to-stop on an idle system: from `client.stop` to the call's arrival at the API.

`make time-to-stop` runs it with the topology of `stopline up` and exits 1 above the goal.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from stopline import Lane
from stopline.servers.embedded import EmbeddedServer
from tests.support.processes import Stack

STOPS: Final = 300
GOAL_MS: Final = 15.0


def measure(stack: Stack) -> list[float]:
    """Milliseconds of each stop, sorted; one at a time."""
    took = []
    for n in range(STOPS):
        asked_at = time.time()
        stack.client.wait(stack.client.stop("u", str(n)).request_id, 60)
        (call,) = stack.api.calls(f"u/{n}")
        took.append((call["at"] - asked_at) * 1000)
    return sorted(took)


def main() -> int:
    """Start everything, measure, and print median and 99th percentile."""
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedServer(Path(name) / "data") as server,
        Stack(Path(name), server.url) as stack,
    ):
        stack.api.start()
        stack.worker(Lane.DEFAULT, Lane.BULK, concurrency=2)
        stack.worker(Lane.EMERGENCY)
        for lane in Lane:  # both workers are up, and their connections open
            stack.client.wait(stack.client.stop("warm-up", lane, lane=lane).request_id, 60)
        took = measure(stack)
    median = statistics.median(took)
    sys.stdout.write(
        f"time-to-stop of {STOPS} stops: median {median:.1f} ms, "
        f"p99 {took[len(took) * 99 // 100]:.1f} ms (goal: median under {GOAL_MS:g} ms)\n"
    )
    return int(median >= GOAL_MS)


if __name__ == "__main__":
    sys.exit(main())
