"""`demo --console`: everything on this machine, and a mix that keeps coming, for the console."""

from __future__ import annotations

import random
import signal
import socket
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stopline.cli import output
from stopline.cli.simulating import SimulatedApi
from stopline.cli.supervisor import Supervisor, stopline_command
from stopline.cli.workers import start_workers
from stopline.client.sync_client import StopClient
from stopline.contract import Actor, AuditAction, Lane, StopRequest, junk_of, new_request_id
from stopline.errors import StoplineError, UnavailableError
from stopline.servers.embedded import EmbeddedServer
from stopline.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN: Final = "demo-token"  # noqa: S105  # the simulated API's, which anybody may know
_FAULTS: Final[list[dict[str, Any]]] = [
    {"task_id": "locked*", "replies": [{"http_status": 400}], "for_ever": True},
    {"task_id": "gone*", "replies": [{"body": {"status": "error", "code": 404}}], "for_ever": True},
    {"task_id": "flaky*", "replies": [{"http_status": 503, "times": 3}]},
    {"task_id": "busy*", "replies": [{"http_status": 429, "headers": {"Retry-After": "5"}}]},
    {"task_id": "stuck*", "replies": [{"http_status": 503}], "for_ever": True},
]
_LATENCY_MS: Final = 45.0
_TURN_S: Final = 0.25
_SOURCES: Final = ("crm", "billing", "policy-engine", "night-shift")
_REASONS: Final = ("over budget", "complaint", "number is wrong", "campaign has ended", None)
_KINDS: Final = (("t", 80), ("flaky", 8), ("busy", 4), ("locked", 4), ("gone", 3), ("stuck", 1))
_BATCH: Final = 400


def run_lively(port: int) -> None:
    """Run server, API, workers and gateway until Ctrl-C, and send what a day brings."""
    _check_port(port)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stopline-demo-")))
        output.say("starting: embedded server, simulated API, workers, gateway …")
        server = stack.enter_context(EmbeddedServer(directory / "data"))
        api_url = stack.enter_context(
            SimulatedApi(directory, _FAULTS, _TOKEN, latency_ms=_LATENCY_MS)
        )
        log = stack.enter_context((directory / "log").open("wb"))
        environment = _environment(server.url, api_url, port)
        supervisor = Supervisor(environment, drain_s=5, log=log)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.request_stop())
        stack.callback(supervisor.stop)
        start_workers(supervisor, 1, "info")
        supervisor.add("gateway", stopline_command("gateway"))
        mix = _Mix(server.url)
        sending = threading.Thread(target=mix.run, daemon=True)
        sending.start()
        output.say(f"the console: http://127.0.0.1:{port}/console/ (Ctrl-C ends it all)")
        output.say(f"for commands beside it: export STOPLINE_REDIS_URL={server.url}")
        code = supervisor.watch()
        mix.end()
        sending.join(5)
        if code is not None:
            output.say((directory / "log").read_text("utf-8", "replace")[-2000:])
            raise SystemExit(code)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another --port"
            ) from None


def _environment(redis_url: str, api_url: str, port: int) -> Mapping[str, str]:
    return {
        "STOPLINE_REDIS_URL": redis_url,
        "STOPLINE_BROKER_URL": redis_url,
        "STOPLINE_API_URL": api_url,
        "STOPLINE_API_TOKEN": _TOKEN,
        "STOPLINE_GATEWAY_PORT": str(port),
        "STOPLINE_BACKOFF_CAP_S": "20",
        "STOPLINE_OUTCOMES": "1",
    }


class _Mix:
    """What a day brings, a little faster."""

    def __init__(self, redis_url: str) -> None:
        self._settings = Settings.load(redis_url=redis_url, broker_url=redis_url, outcomes=True)
        self._random = random.Random(17)  # noqa: S311  # a mix, no secret
        self._over = threading.Event()
        self._turn = 0

    def end(self) -> None:
        """Send no more."""
        self._over.set()

    def run(self) -> None:
        """Send until the end; whatever is away comes back."""
        told = ""
        with StopClient(self._settings) as client:
            while not self._over.wait(_TURN_S):
                try:
                    self._send(client)
                except StoplineError as error:
                    if str(error) != told:
                        told = str(error)
                        output.say(told)
                self._turn += 1

    def _send(self, client: StopClient) -> None:
        for _ in range(self._random.randint(1, 6)):
            wish = self._wish()
            actor = Actor(wish.source, "demo", "127.0.0.1")
            receipt = client.stop_request(wish, actor=actor)
            if self._random.random() < 0.01:  # noqa: PLR2004  # one of a hundred
                client.cancel(receipt.request_id, by="night-shift", actor=actor)
        if self._turn % 60 == 5:  # noqa: PLR2004  # four times a minute
            self._send_batch(client)
        if self._turn % 240 == 20:  # noqa: PLR2004  # once a minute
            junk = junk_of(b'{"user": "?"}', "task_id: this field is required", origin="demo, 1-0")
            client.quarantine(junk)

    def _send_batch(self, client: StopClient) -> None:
        batch_id = f"campaign-{self._turn}-{new_request_id()[:8]}"
        actor = Actor("night-shift", "demo", "127.0.0.1")
        client.note(AuditAction.BATCH, actor, batch_id=batch_id)
        client.stop_many([self._wish(Lane.BULK) for _ in range(_BATCH)], batch_id=batch_id)
        client.note(AuditAction.BATCH_END, actor, batch_id=batch_id, count=_BATCH)

    def _wish(self, lane: Lane | None = None) -> StopRequest:
        kinds, weights = zip(*_KINDS, strict=True)
        (kind,) = self._random.choices(kinds, weights)
        urgent = Lane.EMERGENCY if self._random.random() < 0.2 else Lane.DEFAULT  # noqa: PLR2004
        return StopRequest(
            user_id=f"user-{self._random.randint(1, 40)}",
            task_id=f"{kind}-{self._random.randint(1, 100_000)}",
            lane=lane or urgent,
            source=self._random.choice(_SOURCES),
            reason=self._random.choice(_REASONS),
        )
