"""Hands request ids to the engines, as far as these have room."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.contract import MESSAGE_IDS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stopline_worker.intake.loop_timer import LoopTimer
    from stopline_worker.process.inbox import Inbox

_log = logging.getLogger(__name__)
_AGAIN_S: Final = 0.005
_PATIENCE_S: Final = 5.0
"""After it the ids may be due (`Limits.look_again_s`), and in the end sweeps find them."""


class _Waiting(NamedTuple):
    request_ids: list[str]
    until: float


class Handover:
    """Ids on their way to the engines: in their order, many at once.

    What no engine takes in time is left to the sweeps: by then the ids are due.

    Args:
        inbox: the engines'.
        timer: of the consumer's loop.
    """

    def __init__(
        self,
        inbox: Inbox,
        timer: LoopTimer,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inbox = inbox
        self._timer = timer
        self._monotonic = monotonic
        self._gathered: list[str] = []
        self._waiting: deque[_Waiting] = deque()
        self._is_timed = False

    @property
    def has_room(self) -> bool:
        """Whether the engines took all that they were given."""
        return not self._waiting

    def add(self, request_ids: Iterable[str]) -> None:
        """Ids for the next flush."""
        self._gathered += request_ids

    def flush(self) -> None:
        """Give the engines what was gathered."""
        ids, self._gathered = self._gathered, []
        until = self._monotonic() + _PATIENCE_S
        for first in range(0, len(ids), MESSAGE_IDS_MAX):
            self._waiting.append(_Waiting(ids[first : first + MESSAGE_IDS_MAX], until))
        self._put()

    def _put(self) -> None:
        while self._waiting:
            ids, until = self._waiting[0]
            if not self._inbox.put(ids):
                if self._monotonic() < until:
                    break
                _log.info(
                    "engines full, ids left to the sweep",
                    extra={"action": "handover_full", "requests": len(ids)},
                )
            self._waiting.popleft()
        if self._waiting and not self._is_timed:
            self._is_timed = True
            self._timer.after(_AGAIN_S, self._again)

    def _again(self) -> None:
        self._is_timed = False
        self._put()
