"""Finds a consumer that is alive but consumes nothing, and ends its process.

Celery workers can stand still after their broker was away, and look well: the process lives, `ping`
may even be answered (celery#8030, #8091, #10205, kombu#2492; most causes are mended in kombu 5.7,
those that are left need a connection that goes silent in the wrong moment). A process that ends is
started again by its supervisor, so that is what the watchdog brings about. Its thread also writes
the consumer's heartbeat.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stopline.health import BEAT_INTERVAL_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline_worker.liveness.consumption import Consumption

_log = logging.getLogger(__name__)
LIMIT_S: Final = 12.0
"""For so long a consumer may stand still while its broker answers others."""
_LOOK_S: Final = 1.0
_DRAIN_MARGIN_S: Final = 15.0
STILL_EXIT: Final = 70
"""EX_SOFTWARE of sysexits.h."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the watchdog needs to know and do, so that tests need no worker.

    Attributes:
        broker_answers: whether a connection of the watchdog's own gets an answer.
        has_work: whether messages were taken that are not done yet.
        is_stopping: whether the worker shuts down, and so rightly consumes nothing.
        beat: writes the heartbeat; the argument tells whether the broker is within reach.
    """

    broker_answers: Callable[[], bool]
    has_work: Callable[[], bool]
    is_stopping: Callable[[], bool]
    beat: Callable[[bool], None]


class Watchdog:
    """Looks at the consumer each second, from a thread of its own."""

    def __init__(
        self,
        consumption: Consumption,
        surroundings: Surroundings,
        *,
        drain_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumption = consumption
        self._surroundings = surroundings
        self._drain_s = drain_s
        self._monotonic = monotonic
        self._answers_since: float | None = None
        self._beat_at = float("-inf")
        self.is_ending = False
        """It has found a standstill, and the process is to end as failed."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stopline-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def look(self) -> str | None:
        """Why the consumer stands still for good, or None."""
        problem = self._standstill()
        if problem is None:
            self._answers_since = None
            self._beat(broker_reachable=True)
            return None
        if not self._surroundings.broker_answers():
            self._answers_since = None
            self._beat(broker_reachable=False)
            return None
        now = self._monotonic()
        if self._answers_since is None:
            self._answers_since = now
        self._beat(broker_reachable=True)
        return problem if now - self._answers_since >= LIMIT_S else None

    def _standstill(self) -> str | None:
        """What seems to stand still; whether it does is seen when the broker answers others."""
        seen, surroundings = self._consumption, self._surroundings
        if not seen.is_observed or surroundings.is_stopping():
            return None
        limit_s = LIMIT_S / 2
        if seen.since_tick_s > limit_s:
            return f"its loop has not gone round for {seen.since_tick_s:.0f} s"
        busy = seen.is_full and surroundings.has_work()
        if seen.since_poll_s > limit_s and not busy:
            return f"it has not looked at its queues for {seen.since_poll_s:.0f} s"
        return None

    def _beat(self, *, broker_reachable: bool) -> None:
        now = self._monotonic()
        if now - self._beat_at >= BEAT_INTERVAL_S:
            self._beat_at = now
            self._surroundings.beat(broker_reachable)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                problem = self.look()
            except Exception:  # noqa: BLE001  # a fault of the watchdog's must not end its watch
                _log.exception("watchdog failed", extra={"action": "watchdog_failed"})
                continue
            if problem is not None:
                self._end(problem)

    def _end(self, problem: str) -> None:
        _log.error(
            "the consumer stands still though its broker answers: %s. The process ends, so that "
            "its supervisor starts it again",
            problem,
            extra={"action": "consumer_stands_still"},
        )
        self.is_ending = True
        if self._consumption.since_tick_s < LIMIT_S / 2:
            # The loop goes round, so it can drain.
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(self._drain_s + _DRAIN_MARGIN_S)
        # A loop that hangs in a read never sees a signal. The pool's processes end with this one,
        # and the leases of their calls bring these back.
        os._exit(STILL_EXIT)
