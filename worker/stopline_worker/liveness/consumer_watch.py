"""Starts and stops the watchdog of a Celery worker: what it needs to know is Celery's to tell."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from celery.bootsteps import RUN
from celery.worker import state

from stopline.ledger import commands
from stopline_worker.liveness import heartbeat
from stopline_worker.liveness.consumption import consumption
from stopline_worker.liveness.watchdog import LIMIT_S, STILL_EXIT, Surroundings, Watchdog
from stopline_worker.process.runtime import runtime

if TYPE_CHECKING:
    from celery import Celery

_log = logging.getLogger(__name__)
_SOLO_TICK_LIMIT_S: Final = 60.0
"""The solo pool works in the loop itself, and a message may wait that long for the ledger."""
_PROBE_S: Final = 5.0
_PROBE_KEY: Final = "stopline.watchdog"


class WatchedWorker:
    """The watchdog of this process's consumer, from its start to its shutdown."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._watchdog: Watchdog | None = None
        self._name = ""

    def start(self, consumer: Any) -> None:
        """Watch a consumer that is ready."""
        if self._watchdog is not None:
            return
        self._name = consumer.hostname
        pool = consumer.pool
        is_solo = "solo" in type(pool).__module__

        def beat(broker_reachable: bool) -> None:  # the watchdog's only word
            said = heartbeat.of_consumer(
                self._name,
                runtime.lanes,
                _engine_pids(pool),
                consumption,
                broker_reachable=broker_reachable,
            )
            runtime.tell(commands.beat(runtime.limits, said))

        self._watchdog = Watchdog(
            consumption,
            Surroundings(
                broker_answers=self._broker_answers,
                has_work=lambda: bool(state.reserved_requests or state.active_requests),
                is_stopping=lambda: _is_stopping(consumer),
                beat=beat,
                tick_limit_s=_SOLO_TICK_LIMIT_S if is_solo else LIMIT_S,
            ),
            drain_s=runtime.settings.drain_s,
        )
        self._watchdog.start()

    def stop(self) -> None:
        """The worker shuts down: from here on it consumes nothing, rightly."""
        if self._watchdog is not None:
            self._watchdog.stop()

    def leave(self) -> None:
        """The worker is gone."""
        if self._watchdog is None:
            return
        runtime.tell(commands.leave(self._name))
        if self._watchdog.is_ending:
            # Drained, and to be started again: for some supervisors only a failure is a reason.
            os._exit(STILL_EXIT)

    def _broker_answers(self) -> bool:
        try:
            with self._app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=_PROBE_S)
                # A full or read-only Redis answers a PING, and lets nobody consume.
                connection.default_channel.client.set(_PROBE_KEY, "1", ex=60)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is no answer
            _log.debug("broker does not answer: %r", error, extra={"action": "broker_away"})
            return False
        return True


def _is_stopping(consumer: Any) -> bool:
    """Signals set the state, remote control (`celery control shutdown`) only the blueprint's."""
    told = (state.should_stop, state.should_terminate)
    return (
        any(one is not None and one is not False for one in told)
        or consumer.controller.blueprint.state != RUN
    )


def _engine_pids(pool: Any) -> list[int]:
    """The processes that have an engine: those of prefork's pool, or this one."""
    processes = getattr(getattr(pool, "_pool", None), "_pool", None)
    pids = [one.pid for one in processes or () if getattr(one, "pid", None)]
    return pids or [os.getpid()]
