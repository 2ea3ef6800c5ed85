"""The engine's thread: the border between Celery's process and the engine's event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import signal
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import uvloop

from stopline.contract import engine_id
from stopline.errors import StoplineError
from stopline.garbage import collect_less_often
from stopline.health import BEAT_INTERVAL_S
from stopline.ledger import AsyncLedger, commands
from stopline.servers.connecting import connect_async
from stopline.wiring import limits_of
from stopline_worker.engine.attempt import Attempts
from stopline_worker.engine.backoff import Backoff
from stopline_worker.engine.clock import LedgerClock
from stopline_worker.engine.engine import Engine
from stopline_worker.liveness.heartbeat import of_engine
from stopline_worker.upstream.api_token import ApiToken
from stopline_worker.upstream.api_watch import ApiWatch
from stopline_worker.upstream.client_choice import http_client_of
from stopline_worker.upstream.reading_back import Verifier
from stopline_worker.upstream.task_stop import TaskStopApi

if TYPE_CHECKING:
    from stopline.ledger.limits import Limits
    from stopline.ledger.values import Command
    from stopline.servers.redis_server import RedisServer
    from stopline.settings.model import Settings
    from stopline_worker.process.inbox import Inbox
    from stopline_worker.process.served_lanes import ServedLanes

_log = logging.getLogger(__name__)
_START_TIMEOUT_S = 20.0
_STOP_MARGIN_S = 10.0
_FIRST_BEATS_S: Final = 0.25


class EngineThread:
    """Runs one engine in a thread of its own. The composition root of a worker process."""

    def __init__(
        self,
        settings: Settings,
        ledger_server: RedisServer,
        lanes: ServedLanes,
        inbox: Inbox,
        worker: str,
    ) -> None:
        self._settings = settings
        self._ledger_server = ledger_server
        self._lanes = lanes
        self._inbox = inbox
        self._worker = worker
        self.limits: Limits = limits_of(settings)
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="stopline-engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._engine: Engine
        self._watch: ApiWatch
        self._ledger: AsyncLedger

    def start(self) -> None:
        """Start the engine; returns when it takes requests. Does not wait for Redis."""
        self._thread.start()
        self._ready.result(_START_TIMEOUT_S)

    def drain(self) -> None:
        """Let calls finish within DRAIN_S, release the rest, and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(self._settings.drain_s + _STOP_MARGIN_S)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001  # whatever ended it, the process ends too
            if not self._ready.done():
                self._ready.set_exception(error)
            _log.exception("the engine ended", extra={"action": "engine_failed"})
            # A worker without its engine takes messages and calls nobody. Its pool, or its
            # supervisor, starts it again.
            os.kill(os.getpid(), signal.SIGTERM)

    async def _main(self) -> None:
        collect_less_often()
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        token = ApiToken.from_settings(self._settings)
        api = TaskStopApi(http_client_of(self._settings), str(self._settings.api_url))
        watch = ApiWatch(time.monotonic)
        self._ledger = AsyncLedger(connect_async(self._ledger_server))
        jitter = random.Random()  # noqa: S311  # jitter is no secret
        attempts = Attempts(
            api=api,
            token=token,
            backoff=Backoff(self._settings.backoff_base_s, self._settings.backoff_cap_s),
            random=jitter,
            watch=watch,
            clock=LedgerClock(),
            verify=None
            if self._settings.verify is None
            else Verifier(api, self._settings.verify, self._settings.verify_pages),
            within_s=self._settings.call_timeout_s,
        )
        self._engine = Engine(
            self._ledger,
            attempts,
            self.limits,
            self._lanes,
            max_in_flight=self._settings.max_in_flight,
            name=secrets.token_hex(4),
            random=jitter,
        )
        self._watch = watch
        self._engine.start()
        self._ready.set_result(None)
        beating = asyncio.create_task(self._beat_for_ever())
        taking = asyncio.create_task(self._take_for_ever())
        await self._stop.wait()
        taking.cancel()
        await self._engine.drain(self._settings.drain_s)
        beating.cancel()
        await self._tell(commands.leave(engine_id(self._worker, os.getpid())))
        await api.close()
        await self._ledger.close()

    async def _take_for_ever(self) -> None:
        """Claim what the consumer was told of; it waits, or tells another, while this is full."""
        while True:
            request_ids = await self._inbox.take(self._loop)
            try:
                await self._engine.submit(request_ids, self.limits.look_again_s)
            except Exception as error:  # noqa: BLE001  # the ledger has them: any engine's sweep will do
                _log.warning("ids left to the sweep: %r", error, extra={"action": "submit_failed"})

    async def _beat_for_ever(self) -> None:
        while True:
            said = of_engine(self._worker, self._lanes, self._engine, self._watch)
            await self._tell(commands.beat(self.limits, said))
            # Who waits for the worker to be ready need not wait for the second heartbeat.
            has_swept = self._engine.since_sweep_s is not None
            await asyncio.sleep(BEAT_INTERVAL_S if has_swept else _FIRST_BEATS_S)

    async def _tell(self, command: Command[None]) -> None:
        try:
            await self._ledger.run(command)
        except StoplineError as error:  # who looks for the heartbeat sees that it is missing
            _log.debug("heartbeat not written: %s", error, extra={"action": "beat_failed"})
