"""Which lanes a worker takes messages of, for the processes of its pool as well.

`celery control cancel_consumer` stops the messages of a queue. Engines also sweep: they call for
what is due without any message. So they ask here first, and a paused lane is paused altogether.
"""

from __future__ import annotations

import mmap
from enum import IntEnum
from typing import TYPE_CHECKING

from stopline.contract import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable


class _State(IntEnum):
    NOT_SERVED = 0
    CONSUMED = 1
    PAUSED = 2


class ServedLanes:
    """A state for each lane, in memory that forked processes share with the one that made it."""

    def __init__(self) -> None:
        self._states = mmap.mmap(-1, len(Lane))

    def serve(self, lanes: Iterable[Lane]) -> None:
        """These lanes' messages are taken, and of those that were before, the others are paused."""
        wanted = set(lanes)
        for index, lane in enumerate(Lane):
            if lane in wanted:
                self._states[index] = _State.CONSUMED
            elif self._states[index] == _State.CONSUMED:
                self._states[index] = _State.PAUSED

    @property
    def consumed(self) -> tuple[Lane, ...]:
        """Those whose messages are taken, the most urgent first."""
        return self._in(_State.CONSUMED)

    @property
    def paused(self) -> tuple[Lane, ...]:
        """Those that somebody told the worker not to consume any more."""
        return self._in(_State.PAUSED)

    @property
    def served(self) -> tuple[Lane, ...]:
        """Both."""
        return tuple(lane for lane in Lane if lane in self.consumed or lane in self.paused)

    def _in(self, state: _State) -> tuple[Lane, ...]:
        return tuple(lane for index, lane in enumerate(Lane) if self._states[index] == state)
