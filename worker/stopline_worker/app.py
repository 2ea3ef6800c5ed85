"""The Celery app: `celery -A stopline_worker.app worker -Q stopline.default,stopline.bulk`.

Importing it does no IO: settings are read when Celery first needs its configuration.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from celery import Celery, signals

from stopline.dispatch.broker import broker_options
from stopline.errors import StoplineError, UnavailableError
from stopline.logs import configure_logging
from stopline_worker.intake import control, redis_transport, tasks
from stopline_worker.liveness.consumer_watch import WatchedWorker
from stopline_worker.process.runtime import runtime
from stopline_worker.process.supervisor_pipe import drain_with_supervisor
from stopline_worker.upstream.api_token import ApiToken

_log = logging.getLogger(__name__)
_SETTINGS_EXIT = 2
_UNAVAILABLE_EXIT = 3
_IN_PROCESS_POOLS = ("solo", "thread")


def _configuration() -> dict[str, Any]:
    """Celery's configuration, each setting with its reason."""
    try:
        settings, ledger = runtime.settings, runtime.ledger_server
    except StoplineError as error:
        _exit(error)
    broker = broker_options(settings, settings.queue_url(ledger.url))
    # Our channel knows it, and options are told by `inspect stats`.
    broker["broker_transport_options"].pop("sentinel_kwargs", None)
    return {
        **broker,
        # Where the errors of bad `stopline.stop` messages go; outcomes the ledger writes itself.
        "result_backend": ledger.celery_url,
        "redis_backend_use_ssl": ledger.celery_ssl,
        "result_backend_transport_options": ledger.celery_transport_options,
        "result_expires": settings.result_ttl_s,
        "task_store_errors_even_if_ignored": True,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 25,
        # Keeps what stock Celery deletes.
        "worker_consumer": "stopline_worker.intake.quarantine:QuarantiningConsumer",
        # One message ahead per process: what is prefetched cannot be taken by another worker.
        "worker_prefetch_multiplier": 1,
        # A broker that is away is waited for, at the start and later, without an end.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A full or read-only Redis is a channel error to kombu: it passes, and the worker stays.
        "broker_channel_error_retry": True,
        # Ending the tasks would end the pool processes with all their calls in flight.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # A second signal (cold shutdown) still leaves calls the time to finish. To Celery the
        # worker looks idle meanwhile, since its tasks end when the engine has taken over.
        "worker_soft_shutdown_timeout": settings.drain_s,
        "worker_enable_soft_shutdown_on_idle": True,
        # On a busy machine a pool process may take more than the 4 s it has by default.
        "worker_proc_alive_timeout": 30.0,
        # Tasks are handed over in milliseconds; limits would only cost.
        "worker_disable_rate_limits": True,
        "worker_pool": "prefork",
    }


def _exit(error: StoplineError) -> None:
    sys.stderr.write(f"stopline: {error}\n")
    code = _UNAVAILABLE_EXIT if isinstance(error, UnavailableError) else _SETTINGS_EXIT
    raise SystemExit(code)


def _check_token(**_: Any) -> None:
    try:
        ApiToken.from_settings(runtime.settings)
    except StoplineError as error:
        _exit(error)


def _check_pool(sender: Any, **_: Any) -> None:
    pool = sender.pool_cls if isinstance(sender.pool_cls, str) else sender.pool_cls.__module__
    if "gevent" in pool or "eventlet" in pool:
        sys.stderr.write(
            "stopline: the gevent and eventlet pools cannot run the engine's event loop; use "
            "prefork (the default) or threads. Concurrency of calls is STOPLINE_MAX_IN_FLIGHT.\n"
        )
        raise SystemExit(_SETTINGS_EXIT)


def _serve(**_: Any) -> None:
    """The lanes of this worker's queues, as `-Q` chose them."""
    runtime.lanes.serve(app.amqp.queues.consume_from)


def _watch_supervisor(**_: Any) -> None:
    drain_with_supervisor()


def _start_engine(sender: Any, **_: Any) -> None:
    worker = sender if isinstance(sender, str) else sender.hostname
    if not runtime.lanes.served:  # the solo pool begins before the worker is set up
        _serve()
    try:
        runtime.start_engine(worker)
    except Exception:  # noqa: BLE001  # whatever it is, there is no engine
        # Celery would log this and go on: a worker that takes messages and calls nobody.
        _log.exception("the engine did not start", extra={"action": "engine_failed"})
        raise SystemExit(1) from None


def _start_engine_in_process(sender: Any, **_: Any) -> None:
    if any(name in type(sender.pool).__module__ for name in _IN_PROCESS_POOLS):
        _start_engine(sender)


def _stop_engine(**_: Any) -> None:
    runtime.stop_engine()


def _watch(sender: Any, **_: Any) -> None:
    watched.start(sender)


def _watch_no_more(**_: Any) -> None:
    watched.stop()


def _leave(**_: Any) -> None:
    watched.leave()


def _configure_logging(loglevel: int | None = None, logfile: str | None = None, **_: Any) -> None:
    configure_logging(loglevel, logfile)


redis_transport.install()
control.install(runtime.lanes)
app = Celery("stopline", set_as_current=True)
app.add_defaults(_configuration)
tasks.register(app)
watched = WatchedWorker(app)

signals.setup_logging.connect(_configure_logging, weak=False)
signals.celeryd_init.connect(_check_token, weak=False)
signals.worker_init.connect(_check_pool, weak=False)
signals.celeryd_after_setup.connect(_serve, weak=False)
signals.worker_init.connect(_watch_supervisor, weak=False)
# The prefork pool has an engine in each process, the in-process pools one in the worker itself.
signals.worker_process_init.connect(_start_engine, weak=False)
signals.worker_process_shutdown.connect(_stop_engine, weak=False)
signals.worker_ready.connect(_start_engine_in_process, weak=False)
signals.worker_shutdown.connect(_stop_engine, weak=False)
signals.worker_ready.connect(_watch, weak=False)
signals.worker_shutting_down.connect(_watch_no_more, weak=False)
signals.worker_shutdown.connect(_leave, weak=False)
