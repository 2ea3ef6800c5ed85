"""The Celery app: `celery -A stopline_worker.app worker -Q stopline.default,stopline.bulk`.

Here a worker process is put together, and each part is handed what it works with. Importing it does
no IO: settings are read when Celery first needs its configuration.
"""

from __future__ import annotations

import sys
from typing import Any

from celery import Celery

from stopline.contract import REQUESTS_A_CALL
from stopline.dispatch.broker import broker_options, is_amqp
from stopline.errors import StoplineError
from stopline.exits import exit_code
from stopline_worker.intake import control, redis_transport, tasks
from stopline_worker.intake.celery_view import CeleryView
from stopline_worker.intake.consumer import consumer_class
from stopline_worker.intake.inlet import Inlet
from stopline_worker.intake.loop_timer import LoopTimer
from stopline_worker.intake.quarantine import Quarantine
from stopline_worker.intake.worker_life import WorkerLife
from stopline_worker.liveness.consumption import Consumption
from stopline_worker.process.runtime import Runtime


def _configuration() -> dict[str, Any]:
    """Celery's configuration, each setting with its reason."""
    try:
        settings, ledger = _runtime.settings, _runtime.ledger_server
    except StoplineError as error:
        sys.stderr.write(f"stopline: {error}\n")
        raise SystemExit(exit_code(error)) from None
    broker = broker_options(settings, settings.queue_url(ledger.url))
    prefetch = REQUESTS_A_CALL if is_amqp(broker["broker_url"]) else 0
    # Our channel knows it, and options are told by `inspect stats`.
    broker["broker_transport_options"].pop("sentinel_kwargs", None)
    return {
        **broker,
        # Where the errors of bad `stopline.stop` messages go; outcomes the ledger writes itself.
        "result_backend": ledger.celery_url,
        "redis_backend_use_ssl": ledger.celery_ssl,
        "result_backend_transport_options": ledger.celery_transport_options,
        "result_expires": settings.result_ttl_s,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 25,
        # Keeps what stock Celery deletes.
        "worker_consumer": f"{__name__}:WorkerConsumer",
        # Messages are accepted as they come, many together: none waits in a worker for a process.
        # In Redis the inlet says how many are taken.
        "worker_prefetch_multiplier": prefetch,
        # A broker that is away is waited for, at the start and later, without an end.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A full or read-only Redis is a channel error to kombu: it passes, and the worker stays.
        "broker_channel_error_retry": True,
        # Ending the tasks would end the pool processes with all their calls in flight.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # A second signal (cold shutdown) still leaves calls the time to finish. To Celery the
        # worker looks idle, since no task runs in it.
        "worker_soft_shutdown_timeout": settings.drain_s,
        "worker_enable_soft_shutdown_on_idle": True,
        # On a busy machine a pool process may take more than the 4 s it has by default.
        "worker_proc_alive_timeout": 30.0,
        # No task runs in the pool; limits would only cost.
        "worker_disable_rate_limits": True,
        "worker_pool": "prefork",
    }


app = Celery("stopline", set_as_current=True)
app.add_defaults(_configuration)
tasks.register(app)

_runtime = Runtime()
_timer = LoopTimer()
_view = CeleryView()
_inlet = Inlet(_runtime, Quarantine(_runtime), _view, _timer)
_consumption = Consumption()
_custody = redis_transport.Custody(
    _inlet,
    _consumption,
    lambda: _runtime.broker_server,
    lambda: _runtime.settings.visibility_timeout_s,
)

# Celery and kombu make these themselves, and are told their names.
WorkerConsumer = consumer_class(_inlet, _view, _timer, _runtime.lanes)
RedisTransport = redis_transport.transport_class(_custody)
SentinelTransport = redis_transport.sentinel_transport_class(_custody)

redis_transport.install(
    redis=f"{__name__}:RedisTransport", sentinel=f"{__name__}:SentinelTransport"
)
control.install(_runtime.lanes, _runtime.report)
WorkerLife(app, _runtime, _inlet, _consumption).connect()
