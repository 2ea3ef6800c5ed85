"""What is done with a large batch meanwhile: another batch, a pause, a worker that is killed."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from stopline import Lane
from stopline.ledger import keys

if TYPE_CHECKING:
    import redis

    from stopline import StopClient
    from tests.benchmarks.fleet import Fleet
    from tests.benchmarks.growth import Report
    from tests.benchmarks.target import Target

SMALL: Final = "small"
_COUNT: Final = 100
_SMALL_S: Final = 2.0
_REST_S: Final = 3.0
_BROKER_MB: Final = 10.0


@dataclass
class QueueMemory:
    """The most that a lane's queue, and what waits for its turn, took; looked at by a thread."""

    client: redis.Redis
    batch_id: str
    most: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        lane = Lane.BULK
        line = f"{keys.BACKLOG}{lane}:b:{self.batch_id}"
        names = (lane.queue, f"{keys.TURNS}{lane}", line)
        while not self._over.wait(0.05):
            used: list[Any] = [self.client.memory_usage(name, samples=0) for name in names]
            self.most = max(self.most, sum(one or 0 for one in used))

    def tell(self, report: Report) -> None:
        """Of all the time."""
        mb = self.most / 2**20
        report.tell("queue and turns, at most", f"{mb:.2f} MB", good=mb <= _BROKER_MB)


class Steering:
    """Does each thing once, at a share of the calls."""

    def __init__(
        self,
        client: StopClient,
        batch_id: str,
        target: Target,
        report: Report,
        doomed: Fleet,
    ) -> None:
        self._client = client
        self._batch_id = batch_id
        self._target = target
        self._report = report
        self._doomed = doomed
        self._to_do = [
            (0.3, self._small_batch),
            (0.5, self._pause),
            (0.7, self._kill),
        ]

    def look(self, share: float) -> None:
        """Do what is to be done once so much has been called for."""
        while self._to_do and share >= self._to_do[0][0]:
            self._to_do.pop(0)[1]()

    def _small_batch(self) -> None:
        started = time.monotonic()
        requests = [
            {"user_id": "other", "task_id": f"{SMALL}-{n}", "lane": "bulk"} for n in range(_COUNT)
        ]
        batch_id = self._client.stop_many(requests).batch_id
        while self._client.batch(batch_id).pending:
            time.sleep(0.005)
        took_s = time.monotonic() - started
        self._report.tell(
            f"another's batch of {_COUNT} in its middle",
            f"{took_s:.2f} s until all are stopped",
            good=took_s <= _SMALL_S,
        )

    def _pause(self) -> None:
        started = time.monotonic()
        self._client.batches.pause(self._batch_id, reason="measured", by="bench")
        calls, last = -1, started
        while time.monotonic() - started < _REST_S:
            if self._target.stats.calls != calls:
                calls, last = self._target.stats.calls, time.monotonic()
            time.sleep(0.005)
        took_s = last - started
        self._report.tell("calls after a pause", f"for {took_s:.2f} s", good=took_s <= 1.0)
        self._client.batches.resume(self._batch_id)

    def _kill(self) -> None:
        self._doomed.kill()
        self._report.tell("one worker more", "killed with SIGKILL in the middle of its calls")


def tell_report(client: StopClient, batch_id: str, count: int, report: Report) -> None:
    """Whether each line is in the report, with each target once."""
    started = time.monotonic()
    lines, targets = 0, set()
    for line in client.batches.report(batch_id):
        lines += line.outcome is not None
        targets.add((line.user_id, line.task_id))
    report.tell(
        "its report",
        f"{lines:,} lines with outcomes, {len(targets):,} targets, "
        f"{time.monotonic() - started:.0f} s",
        good=lines == len(targets) == count,
    )
