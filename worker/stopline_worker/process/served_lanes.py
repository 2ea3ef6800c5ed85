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
    from collections.abc import Container


class _State(IntEnum):
    NOT_SERVED = 0
    CONSUMED = 1
    PAUSED = 2


class ServedLanes:
    """A state for each lane, in memory that forked processes share with the one that made it."""

    def __init__(self) -> None:
        self._states = mmap.mmap(-1, len(Lane))

    def serve(self, queues: Container[str]) -> None:
        """These queues are consumed; the lanes that were and are no more are paused."""
        for index, lane in enumerate(Lane):
            if lane.queue in queues:
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
        return self._in(_State.CONSUMED, _State.PAUSED)

    def _in(self, *states: _State) -> tuple[Lane, ...]:
        return tuple(lane for index, lane in enumerate(Lane) if self._states[index] in states)
