"""An event loop whose time is a number: it jumps to the next timer when nothing is ready.

So a run takes as long as its Python takes, whatever it waits for, and the same seed gives the same
run: nothing is read from a socket, and no clock but this one is looked at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class DeadlockError(Exception):
    """Nothing is ready, and no timer is set: what is waited for cannot come."""


class LivelockError(Exception):
    """So many turns that somebody must be going round in circles."""


_TURNS_MAX = 200_000


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio loop without IO, on virtual time."""

    def __init__(self, turns_max: int = _TURNS_MAX) -> None:
        super().__init__()
        self._turns_max = turns_max
        self._now = 0.0
        self._turns = 0
        self._selector = self
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """Where another loop would wait for IO, let the time pass."""
        self._turns += 1
        if self._turns > self._turns_max:
            raise LivelockError
        if timeout is None:
            raise DeadlockError
        if timeout > 0:
            self._now = max(self._now, self._scheduled[0].when())
        return ()

    def _process_events(self, event_list: tuple[()]) -> None:
        """There is no IO."""

    def _write_to_self(self) -> None:
        """Nobody else's thread wakes this loop."""

    def run(self, main: Coroutine[Any, Any, object]) -> None:
        """Run to the end of `main`, then drop what others still do."""
        asyncio.set_event_loop(self)
        # Of tasks that died with their process nobody fetches the result.
        self.set_exception_handler(lambda _loop, _context: None)
        try:
            self.run_until_complete(main)
        finally:
            self._drop_tasks()
            asyncio.set_event_loop(None)
            self.close()

    def _drop_tasks(self) -> None:
        for _ in range(10):  # a task may begin others while it ends
            tasks = asyncio.all_tasks(self)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.wait(tasks, timeout=1))
