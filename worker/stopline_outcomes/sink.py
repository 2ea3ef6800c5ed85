"""A sink: reads outcomes for one purpose, as a reader of its group, and acknowledges what is kept.

    read ─ keep ─ acknowledge           at its beginning, and now and then: take over

Whoever dies between keep and acknowledge has kept them, and they go to another reader: each sink
must take the same outcome twice for once.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from stopline.errors import StoplineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.client.sinks import AsyncSinks
    from stopline.contract import Outcome, SinkEntry

_log = logging.getLogger(__name__)
_TOGETHER: Final = 500
_IDLE_S: Final = 0.25
_AGAIN_S: Final = 1.0
_AGAIN_MOST_S: Final = 30.0
_SILENT_S: Final = 10.0
"""Entries of a reader that has not acknowledged them for so long are taken over."""
_LOOK_AFTER_S: Final = 10.0


class Keep(Protocol):
    """Keeps outcomes elsewhere."""

    name: str
    """The sink's: of its consumer group."""

    async def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Keep them; raises `UnavailableError` where that cannot be now: they come again."""


class Sink:
    """Reads for one `Keep`.

    Args:
        sinks: the client's.
        target: keeps what is read.
        reader: this process's name, unlike any other's.
        most: how many outcomes are kept for it while it is away.
    """

    def __init__(self, sinks: AsyncSinks, target: Keep, reader: str, most: int) -> None:
        self._most = most
        self._sinks = sinks
        self._target = target
        self._reader = reader
        self._ending = asyncio.Event()
        self._look_after_at = 0.0
        self._problem: str | None = None
        self.kept = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self._target.name

    def end(self) -> None:
        """Have `run` return once it has acknowledged what it has."""
        self._ending.set()

    async def run(self) -> None:
        """Read until `end`; what cannot be reached is tried again."""
        again_s = _AGAIN_S
        is_open = False
        while not self._ending.is_set():
            try:
                if not is_open:
                    await self._sinks.open(self.name, self._most)
                    is_open = True
                is_idle = not await self._step()
            except Exception as error:  # noqa: BLE001  # whatever it is, others must not end for it
                self._tell(error)
                await self._pause(again_s)
                again_s = min(2 * again_s, _AGAIN_MOST_S)
                is_open = False  # the ledger may be another one, or empty
                continue
            self._tell(None)
            again_s = _AGAIN_S
            if is_idle:
                await self._pause(_IDLE_S)
        with suppress(StoplineError):
            await self._sinks.leave(self.name, self._reader)

    async def _step(self) -> int:
        """Keep the next ones, and what others left behind; how many."""
        found = await self._next()
        if found:
            await self._target.keep([one.outcome for one in found if one.outcome is not None])
            await self._sinks.acknowledge(self.name, [one.place for one in found])
            self.kept += len(found)
        for one in found:
            if one.outcome is None:
                _log.error(
                    "an entry of the stream is no outcome",
                    extra={"action": "sink_unread", "place": one.place},
                )
        return len(found)

    async def _next(self) -> tuple[SinkEntry, ...]:
        now = asyncio.get_running_loop().time()
        if now >= self._look_after_at:
            left = await self._sinks.take_over(self.name, self._reader, _SILENT_S, _TOGETHER)
            if left:
                return left
            self._look_after_at = now + _LOOK_AFTER_S
        return await self._sinks.read(self.name, self._reader, _TOGETHER)

    async def _pause(self, longest_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._ending.wait()

    def _tell(self, error: Exception | None) -> None:
        """Log what changed, once."""
        problem = None if error is None else f"{error}"
        if error is not None and problem != self._problem:
            expected = isinstance(error, StoplineError)
            _log.warning(
                "%s waits: %s",
                self.name,
                problem,
                extra={"action": "sink_waits"},
                exc_info=None if expected else error,
            )
        elif problem is None and self._problem is not None:
            _log.info("%s goes on", self.name, extra={"action": "sink_goes_on"})
        self._problem = problem
