"""What one worker process holds: its settings, its ledger, and its engine. Nothing at import."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

from stopline.contract import MESSAGE_IDS_MAX
from stopline.errors import StoplineError
from stopline.ledger import Ledger, commands
from stopline.servers.connecting import connect
from stopline.servers.redis_server import RedisServer
from stopline.settings.model import Settings
from stopline.wiring import ledger_server_of, limits_of
from stopline_worker.process.engine_thread import EngineThread
from stopline_worker.process.inbox import Inbox
from stopline_worker.process.served_lanes import ServedLanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits
    from stopline.ledger.values import Command

_log = logging.getLogger(__name__)
_TIMEOUT_S = 2.0


class Runtime:
    """The process's state, made when first asked for."""

    def __init__(self) -> None:
        self._engine: EngineThread | None = None
        self.lanes = ServedLanes()
        self.inbox = Inbox()
        """Both are made before the pool forks, so that its processes share them."""

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises `InvalidSettingsError`."""
        return Settings.load()

    @cached_property
    def ledger_server(self) -> RedisServer:
        """The ledger's server; raises `NoServerError`."""
        return ledger_server_of(self.settings)

    @cached_property
    def broker_server(self) -> RedisServer:
        """The broker's server, where it is a Redis."""
        return RedisServer.of(self.settings.queue_url(self.ledger_server.url), self.settings)

    @cached_property
    def limits(self) -> Limits:
        """The ledger's limits."""
        return limits_of(self.settings)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, for the process's own thread.

        The engine has another on its loop.
        """
        # The consumer's loop waits for it: it must not look as if it stood still.
        return Ledger(connect(self.ledger_server, timeout_s=_TIMEOUT_S, retries=1))

    def start_engine(self, worker: str) -> None:
        """Start this process's engine; does nothing if it runs."""
        if self._engine is None:
            engine = EngineThread(self.settings, self.ledger_server, self.lanes, self.inbox, worker)
            engine.start()
            self._engine = engine

    def stop_engine(self) -> None:
        """Drain this process's engine, if it has one."""
        if self._engine is not None:
            self._engine.drain()
            self._engine = None

    def tell(self, command: Command[None]) -> None:
        """Run a command that may as well be left out: a heartbeat."""
        try:
            self.ledger.run(command)
        except StoplineError as error:  # who looks for the heartbeat sees that it is missing
            _log.debug("heartbeat not written: %s", error, extra={"action": "beat_failed"})

    def report(self, documents: Sequence[tuple[str, bytes]]) -> tuple[bool, ...]:
        """Write Celery's results of messages that were never accepted; which of them it wrote.

        Where the ledger cannot be asked it writes none: who waits for one goes on waiting.
        """
        written: list[bool] = []
        for first in range(0, len(documents), MESSAGE_IDS_MAX):
            some = documents[first : first + MESSAGE_IDS_MAX]
            try:
                found = self.ledger.run(commands.report(self.limits, some))
                written.extend(found)
            except Exception as error:  # noqa: BLE001  # the messages are kept, whatever becomes of this
                _log.warning("senders not told: %r", error, extra={"action": "result_failed"})
                written += [False] * (len(documents) - len(written))
                break
        return tuple(written)
