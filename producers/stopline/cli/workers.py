"""Commands that run things: worker, up, simulate-api."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import ExitStack
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.cli.supervisor import PYTHON, WRONG_SETTINGS, Supervisor, stopline_command
from stopline.client.sync_client import StopClient
from stopline.contract import Lane
from stopline.errors import InvalidSettingsError, StoplineError
from stopline.exits import Exit
from stopline.health import examine
from stopline.logs import configure_logging
from stopline.servers.embedded import EmbeddedServer
from stopline.settings.model import Durability, Settings
from stopline.settings.names import API_TOKEN_FILE
from stopline.settings.secret_files import read_secret

Lanes = Annotated[
    list[Lane] | None, typer.Option("--lane", help="A lane to serve; all if left out.")
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes, each with STOPLINE_MAX_IN_FLIGHT calls at a time; as many as cores if "
        "left out.",
    ),
]


_READY_LOOK_S: Final = 0.5


class Level(StrEnum):
    """How much a worker tells."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevel = Annotated[Level, typer.Option(help="How much the workers tell.")]


def require_worker() -> None:
    """Say what to install where only the producer side is.

    Raises:
        InvalidSettingsError: the worker's packages are not installed.
    """
    missing = [name for name in ("httpx", "uvloop") if find_spec(name) is None]
    if missing or find_spec("stopline_worker") is None:
        raise InvalidSettingsError(
            "The worker's packages are not installed: install the extra 'worker' (in a checkout: "
            "pip install '.[worker]')"
        )


def require_token(settings: Settings) -> None:
    """Say that there is no token before anything is started.

    Raises:
        InvalidSettingsError: there is none, or its file cannot be read.
    """
    if settings.api_token_file is not None:
        read_secret(settings.api_token_file, API_TOKEN_FILE)
    elif settings.api_token is None:
        raise InvalidSettingsError(
            "No API token: set STOPLINE_API_TOKEN, or STOPLINE_API_TOKEN_FILE to a file with it. "
            "To try Stopline without one, run 'stopline demo'."
        )


def worker(
    lanes: Lanes = None,
    concurrency: Concurrency = None,
    log_level: LogLevel = Level.INFO,
) -> None:
    """Run Celery workers for some lanes, in this process's place."""
    require_worker()
    served = sorted(set(lanes or Lane), key=lambda lane: lane.urgency)
    name = "-".join(lane.value for lane in served)
    command = [
        *PYTHON,
        "-m",
        "stopline_worker",
        "--quiet",
        "worker",
        "-Q",
        ",".join(lane.queue for lane in served),
        "-n",
        f"{name}-{os.getpid()}@{socket.gethostname()}",
        "--loglevel",
        log_level.upper(),
        # Workers would otherwise greet each other and gossip: traffic that nothing here uses.
        "--without-gossip",
        "--without-mingle",
    ]
    command += ["--concurrency", str(concurrency)] if concurrency else []
    os.execv(sys.executable, command)  # noqa: S606  # no shell, our own interpreter


def up(
    concurrency: Concurrency = None,
    log_level: LogLevel = Level.INFO,
) -> None:
    """Run everything in the foreground: embedded server, workers, the gateway, the archive.

    With STOPLINE_REDIS_URL set, no server is started; the gateway needs the extra `gateway`, the
    archive the extra `outcomes`.
    Ctrl-C lets calls in flight finish.
    """
    require_worker()
    settings = Settings.load()
    require_token(settings)
    configure_logging(log_level)
    supervisor = Supervisor(drain_s=settings.drain_s)
    # Before anything is started that would outlive this process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.request_stop())
    with ExitStack() as stack:
        server = None
        if settings.ledger_url() is None:
            fsync = settings.durability is Durability.FSYNC
            server = stack.enter_context(EmbeddedServer(settings.data_dir, fsync=fsync))
            files = settings.data_dir.absolute()
            output.announce(f"embedded server: {server.url} (files in {files})", "server_started")
        stack.callback(supervisor.stop)
        start_workers(supervisor, concurrency, log_level)
        start_gateway(supervisor)
        start_outcomes(supervisor)
        output.announce(
            "workers are starting for all lanes; Ctrl-C drains and stops them", "workers_starting"
        )
        care = _Care(settings, supervisor, server)
        # A worker that starts while the server is away ends with 3; here it is on its way back.
        fatal = WRONG_SETTINGS if server is not None else WRONG_SETTINGS | {Exit.UNAVAILABLE}
        code = supervisor.watch(care.look, fatal=fatal)
        output.announce("draining: calls in flight may finish", "draining")
    if code is not None:
        raise typer.Exit(code)


class _Care:
    """What `up` looks at besides its workers: its server, and whether all is ready."""

    def __init__(
        self, settings: Settings, supervisor: Supervisor, server: EmbeddedServer | None
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._server = server
        self._is_ready = False
        self._look_at = time.monotonic()

    def look(self) -> None:
        """Look at both; called a few times a second."""
        self._keep_server()
        if not self._is_ready and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _READY_LOOK_S
            self._is_ready = self._workers_are_ready()
            if self._is_ready:
                output.announce("ready: workers serve all lanes", "ready")

    def _keep_server(self) -> None:
        if self._server is None:
            return
        before = self._server.url
        if not self._server.ensure_running():
            return
        output.announce(
            f"the embedded server had died and was started again: {self._server.url}",
            "server_restarted",
        )
        if self._server.url != before:
            output.announce(
                "its port was taken meanwhile; the workers are started again", "workers_restarted"
            )
            self._supervisor.restart()

    def _workers_are_ready(self) -> bool:
        try:
            with StopClient(self._settings) as client:
                found = client.heartbeats()
        except StoplineError:
            return False
        here = [beat for beat in found.processes if beat.host == socket.gethostname()]
        limit_s = self._settings.call_timeout_s
        return examine(here, found.now, call_timeout_s=limit_s).is_healthy


def start_workers(supervisor: Supervisor, concurrency: int | None, log_level: str) -> None:
    """Start what a deployment runs: the emergency lane has a process of its own."""
    common = ("--log-level", log_level)
    processes = ("--concurrency", str(concurrency)) if concurrency else ()
    supervisor.add(
        "worker (default, bulk)",
        stopline_command("worker", "--lane", "default", "--lane", "bulk", *processes, *common),
    )
    supervisor.add(
        "worker (emergency)",
        stopline_command("worker", "--lane", "emergency", "--concurrency", "1", *common),
    )


def start_gateway(supervisor: Supervisor) -> None:
    """Start the gateway where its extra is installed; it says itself where it listens."""
    if all(find_spec(name) is not None for name in ("fastapi", "uvicorn", "httptools")):
        supervisor.add("gateway", stopline_command("gateway"), is_optional=True)


def start_outcomes(supervisor: Supervisor) -> None:
    """Start what leaves, the archive in SQLite, where its extra is installed."""
    if all(find_spec(name) is not None for name in ("sqlalchemy", "alembic")):
        supervisor.add("outcomes", stopline_command("outcomes", "run"), is_optional=True)


def simulate_api(
    port: Annotated[int, typer.Option(help="0: any free one.")] = 8900,
    latency_ms: Annotated[float, typer.Option(min=0, help="How long each call takes.")] = 0,
    faults: Annotated[
        Path | None, typer.Option(help="Scripted faults; see docs/operations.md.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a real HTTP server that behaves like the upstream, with scripted faults."""
    require_worker()
    command = [
        *PYTHON,
        "-m",
        "stopline_simulator",
        "--port",
        str(port),
        "--latency-ms",
        str(latency_ms),
    ]
    command += ["--faults", str(faults)] if faults else []
    command += ["--json"] if as_json else []
    os.execv(sys.executable, command)  # noqa: S606  # no shell, our own interpreter
