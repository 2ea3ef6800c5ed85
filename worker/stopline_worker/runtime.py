"""What one worker process holds: its settings, its ledger, and its engine. Nothing at import."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stopline.connections import ledger_server_of, policy_of
from stopline.errors import StoplineError
from stopline.ledger import Ledger, connect
from stopline.redis_server import RedisServer
from stopline.settings import Settings
from stopline_worker.engine_thread import EngineThread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline.contract import Lane
    from stopline.ledger.values import Command, Policy

_log = logging.getLogger(__name__)
_TIMEOUT_S = 2.0


class Runtime:
    """The process's state, made when first asked for."""

    def __init__(self) -> None:
        self._engine: EngineThread | None = None

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
    def policy(self) -> Policy:
        """The ledger's limits."""
        return policy_of(self.settings)

    @cached_property
    def _ledger(self) -> Ledger:
        # The consumer's loop waits for it: it must not look as if it stood still.
        return Ledger(connect(self.ledger_server, timeout_s=_TIMEOUT_S))

    @property
    def engine(self) -> EngineThread:
        """The running engine.

        Raises:
            RuntimeError: this process has none: it is no pool process of a worker.
        """
        if self._engine is None:
            msg = "no engine runs in this process"
            raise RuntimeError(msg)
        return self._engine

    def start_engine(self, lanes: Iterable[Lane], worker: str) -> None:
        """Start this process's engine; does nothing if it runs."""
        if self._engine is None:
            engine = EngineThread(self.settings, self.ledger_server, lanes, worker)
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
            self._ledger.run(command)
        except StoplineError as error:  # who looks for the heartbeat sees that it is missing
            _log.debug("heartbeat not written: %s", error, extra={"action": "beat_failed"})

    def keep(self, command: Command[Any]) -> bool:
        """Keep a message in quarantine; False if the ledger is away."""
        try:
            self._ledger.run(command)
        except Exception:  # noqa: BLE001  # see below
            # Whatever it is, it must not end the consumer.
            _log.exception("message not kept", extra={"action": "quarantine_failed"})
            return False
        _log.warning("message kept in quarantine", extra={"action": "quarantined"})
        return True


runtime = Runtime()
