"""What happens to a Celery worker, from its start to its end, and what Stopline does then."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from celery import signals

from stopline.dispatch.broker import is_amqp, undelivered_queue
from stopline.errors import InvalidSettingsError, StoplineError, UnavailableError
from stopline.exits import Exit, exit_code
from stopline.ledger import commands, keys
from stopline.logs import configure_logging
from stopline.supervised import drain_with_supervisor
from stopline_worker.liveness.consumer_watch import ConsumerWatch
from stopline_worker.upstream.api_token import ApiToken
from stopline_worker.upstream.client_choice import check_http_client

if TYPE_CHECKING:
    from celery import Celery

    from stopline.contract import Beat
    from stopline_worker.intake.inlet import Inlet
    from stopline_worker.liveness.consumption import Consumption
    from stopline_worker.process.runtime import Runtime

_log = logging.getLogger(__name__)
_IN_PROCESS_POOLS: Final = ("solo", "thread")


class WorkerLife:
    """Answers Celery's signals in one worker process."""

    def __init__(
        self, app: Celery, runtime: Runtime, inlet: Inlet, consumption: Consumption
    ) -> None:
        self._app = app
        self._runtime = runtime
        self._inlet = inlet
        self._consumption = consumption
        self._watch: ConsumerWatch | None = None

    def connect(self) -> None:
        """Begin to listen."""
        for signal, answer in (
            (signals.setup_logging, _configure_logging),
            (signals.celeryd_init, self._check_settings),
            (signals.worker_init, _check_pool),
            (signals.celeryd_after_setup, self._serve),
            (signals.worker_init, _watch_supervisor),
            # The prefork pool has an engine in each process, in-process pools one in the worker.
            (signals.worker_process_init, self._start_engine),
            (signals.worker_process_shutdown, self._stop_engine),
            (signals.worker_ready, self._start_engine_in_process),
            (signals.worker_shutdown, self._stop_engine),
            (signals.worker_ready, self._start_watch),
            (signals.worker_shutting_down, self._stop_watch),
            (signals.worker_shutdown, self._leave),
        ):
            signal.connect(answer, weak=False)

    def _check_settings(self, **_: Any) -> None:
        try:
            ApiToken.from_settings(self._runtime.settings)
            check_http_client(self._runtime.settings)
            self._join_ledger()
        except StoplineError as error:
            sys.stderr.write(f"stopline: {error}\n")
            raise SystemExit(exit_code(error)) from None

    def _join_ledger(self) -> None:
        """Do not touch what a later version writes; a ledger that is away is asked by nobody."""
        try:
            found = self._runtime.ledger.run(commands.join_ledger(self._runtime.limits))
        except UnavailableError:
            return
        if found > keys.FORMAT_VERSION:
            raise InvalidSettingsError(
                f"The ledger is of format {found}, and this version of Stopline writes "
                f"{keys.FORMAT_VERSION}: a later version works on it (docs/upgrading.md)"
            )

    def _serve(self, **_: Any) -> None:
        """The lanes of this worker's queues, as `-Q` chose them."""
        queues = self._app.amqp.queues
        if is_amqp(self._app.conf.broker_url):
            queues.select_add(undelivered_queue())
        self._runtime.lanes.serve(queues.consume_from)

    def _start_engine(self, sender: Any, **_: Any) -> None:
        worker = sender if isinstance(sender, str) else sender.hostname
        if not self._runtime.lanes.served:  # the solo pool begins before the worker is set up
            self._serve()
        try:
            self._runtime.start_engine(worker)
        except Exception:  # noqa: BLE001  # whatever it is, there is no engine
            # Celery would log this and go on: a worker that takes messages and calls nobody.
            _log.exception("the engine did not start", extra={"action": "engine_failed"})
            raise SystemExit(1) from None

    def _start_engine_in_process(self, sender: Any, **_: Any) -> None:
        if any(name in type(sender.pool).__module__ for name in _IN_PROCESS_POOLS):
            self._start_engine(sender)

    def _stop_engine(self, **_: Any) -> None:
        self._runtime.stop_engine()

    def _start_watch(self, sender: Any, **_: Any) -> None:
        if self._watch is None:
            runtime = self._runtime
            self._watch = ConsumerWatch(
                sender,
                self._consumption,
                runtime.lanes,
                self._say,
                has_work=lambda: not self._inlet.has_room,
                drain_s=runtime.settings.drain_s,
            )
            self._watch.start()

    def _say(self, beat: Beat) -> None:
        self._runtime.tell(commands.beat(self._runtime.limits, beat))

    def _stop_watch(self, **_: Any) -> None:
        if self._watch is not None:
            self._watch.stop()

    def _leave(self, **_: Any) -> None:
        if self._watch is not None:
            self._runtime.tell(commands.leave(self._watch.name))
            self._watch.end_as_failed()


def _check_pool(sender: Any, **_: Any) -> None:
    pool = sender.pool_cls if isinstance(sender.pool_cls, str) else sender.pool_cls.__module__
    if "gevent" in pool or "eventlet" in pool:
        sys.stderr.write(
            "stopline: the gevent and eventlet pools cannot run the engine's event loop; use "
            "prefork (the default) or threads. Concurrency of calls is STOPLINE_MAX_IN_FLIGHT.\n"
        )
        raise SystemExit(Exit.BAD_INPUT)


def _watch_supervisor(**_: Any) -> None:
    drain_with_supervisor()


def _configure_logging(loglevel: int | None = None, logfile: str | None = None, **_: Any) -> None:
    configure_logging(loglevel, logfile)
