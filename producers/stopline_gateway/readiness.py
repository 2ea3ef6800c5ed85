"""Whether the ledger can be reached: asked once a second at most, however many ask here."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from stopline.errors import StoplineError
from stopline_gateway.shared import Shared

if TYPE_CHECKING:
    from stopline import AsyncStopClient
    from stopline.contract import Gate

_log = logging.getLogger(__name__)
_PROBE_S: Final = 3.0
_HOLDS_S: Final = 1.0


class Readiness:
    """Asks the ledger for all who ask at a time; that it answers holds for a second."""

    def __init__(self, client: AsyncStopClient) -> None:
        self._client = client
        self._problem = Shared(self._ask, _HOLDS_S, may_hold=lambda problem: problem is None)
        self._told: str | None = None
        self._gate: Gate | None = None

    def warnings(self) -> list[str]:
        """Why calls wait, as it was when the ledger was last asked; no words of the API."""
        return [f"{part}: {text}" for part, text in self._gate.notices()] if self._gate else []

    async def problem(self) -> str | None:
        """What keeps the ledger from answering; None: it does."""
        return await self._problem.get()

    async def _ask(self) -> str | None:
        problem = await self._look()
        self._tell(problem)
        return problem

    def _tell(self, problem: str | None) -> None:
        """Log what changed: who probes looks at the status, and at no words."""
        if problem is not None and problem != self._told:
            _log.warning("not ready: %s", problem, extra={"action": "not_ready"})
        elif problem is None and self._told is not None:
            _log.info("ready again", extra={"action": "ready"})
        self._told = problem

    async def _look(self) -> str | None:
        try:
            async with asyncio.timeout(_PROBE_S):
                self._gate = await self._client.gate.look()
        except TimeoutError:
            return f"the ledger does not answer within {_PROBE_S:g} s"
        except StoplineError:
            return "the ledger cannot be reached"  # what Redis said may name hosts: see the log
        return None
