"""Starts and stops the watchdog of a Celery worker: what it needs to know is Celery's to tell."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from celery.bootsteps import RUN
from celery.worker import state

from stopline_worker.liveness import heartbeat
from stopline_worker.liveness.watchdog import STILL_EXIT, Surroundings, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline.contract import Beat
    from stopline_worker.engine.ports import Lanes
    from stopline_worker.liveness.consumption import Consumption

_log = logging.getLogger(__name__)
_PROBE_S: Final = 5.0
_PROBE_KEY: Final = "stopline.watchdog"


class ConsumerWatch:
    """The watchdog of this process's consumer, from its start to its shutdown.

    Args:
        consumer: Celery's, when it is ready.
        consumption: tells when it last did something.
        beat: writes down what it says of itself.
        lanes: those that it serves.
        has_work: whether it waits for others, and rightly takes nothing.
        drain_s: how long calls may go on when the process is to end.
    """

    def __init__(
        self,
        consumer: Any,
        consumption: Consumption,
        lanes: Lanes,
        beat: Callable[[Beat], None],
        *,
        has_work: Callable[[], bool],
        drain_s: float,
    ) -> None:
        self._consumer = consumer
        self._consumption = consumption
        self._lanes = lanes
        self._beat = beat
        self.name: str = consumer.hostname
        """The worker's."""
        surroundings = Surroundings(
            broker_answers=self._broker_answers,
            has_work=has_work,
            is_stopping=self._is_stopping,
            beat=self._say,
        )
        self._watchdog = Watchdog(consumption, surroundings, drain_s=drain_s)

    def start(self) -> None:
        """Begin to look."""
        self._watchdog.start()

    def stop(self) -> None:
        """The worker shuts down: from here on it consumes nothing, rightly."""
        self._watchdog.stop()

    def end_as_failed(self) -> None:
        """Where it found a standstill, end the drained process so that it is started again.

        For some supervisors only a failure is a reason.
        """
        if self._watchdog.is_ending:
            os._exit(STILL_EXIT)

    def _say(self, broker_reachable: bool) -> None:  # the watchdog's only word
        self._beat(
            heartbeat.of_consumer(
                self.name,
                self._lanes,
                _engine_pids(self._consumer.pool),
                self._consumption,
                broker_reachable=broker_reachable,
            )
        )

    def _is_stopping(self) -> bool:
        """Signals set the state, remote control (`control shutdown`) only the blueprint's."""
        told = (state.should_stop, state.should_terminate)
        return (
            any(one is not None and one is not False for one in told)
            or self._consumer.controller.blueprint.state != RUN
        )

    def _broker_answers(self) -> bool:
        try:
            with self._consumer.app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=_PROBE_S)
                # A full or read-only Redis answers a PING, and lets nobody consume.
                connection.default_channel.client.set(_PROBE_KEY, "1", ex=60)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is no answer
            _log.debug("broker does not answer: %r", error, extra={"action": "broker_away"})
            return False
        return True


def _engine_pids(pool: Any) -> list[int]:
    """The processes that have an engine: those of prefork's pool, or this one."""
    processes = getattr(getattr(pool, "_pool", None), "_pool", None)
    pids = [one.pid for one in processes or () if getattr(one, "pid", None)]
    return pids or [os.getpid()]
