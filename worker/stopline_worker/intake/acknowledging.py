"""Tells brokers what became of messages: all of a round at once, and again where one was away."""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline_worker.intake.deliveries import Delivery, Source
    from stopline_worker.intake.loop_timer import LoopTimer

_log = logging.getLogger(__name__)
_AGAIN_S: Final = 1.0
_AWAY: Final = (RedisError, OSError)


class Acknowledging:
    """Acknowledges messages when a round ends; gives back and puts off at once.

    What a broker cannot be told now it is told later. Until then it may deliver a message again,
    which doubles nothing: the ledger knows the request.
    """

    def __init__(self, timer: LoopTimer) -> None:
        self._timer = timer
        self._done: defaultdict[Source, list[Any]] = defaultdict(list)
        self._is_timed = False

    def add(self, delivery: Delivery) -> None:
        """A message that is done with, for the next flush."""
        self._done[delivery.source].append(delivery.tag)

    def flush(self) -> None:
        """Tell the brokers."""
        for source in tuple(self._done):
            tags = self._done.pop(source)
            if not _told(partial(source.acknowledge, tags)):
                self._done[source] = tags
        if self._done and not self._is_timed:
            self._is_timed = True
            self._timer.after(_AGAIN_S, self._again)

    def _again(self) -> None:
        self._is_timed = False
        self.flush()

    def forget(self, source: Source) -> None:
        """It is gone, and has taken its messages back."""
        self._done.pop(source, None)

    def give_back(self, delivery: Delivery) -> None:
        """Somebody else is to have it. Where that fails, it is overdue some day."""
        _told(lambda: delivery.source.give_back([delivery.tag]))

    def put_off(self, delivery: Delivery, delay_s: float) -> None:
        """It is to come again after so many seconds."""
        _told(lambda: delivery.source.put_off(delivery.tag, delay_s))

    def put_off_a_moment(self, delivery: Delivery) -> None:
        """It is to come again soon, but not at once."""
        self.put_off(delivery, _AGAIN_S)


def _told(tell: Callable[[], None]) -> bool:
    try:
        tell()
    except _AWAY as error:
        _log.warning("broker not told: %r", error, extra={"action": "acknowledge_failed"})
        return False
    return True
