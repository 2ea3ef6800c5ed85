"""When the consumer's loop last did something: the loop writes it, the watchdog's thread reads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Consumption:
    """Moments of the consumer's loop, by the monotonic clock."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.is_observed = False
        """Whether the broker's transport tells at all; only that for Redis does."""
        self.is_full = False
        """No further message may be taken before one is done."""
        self._ticked_at = self._polled_at = monotonic()

    def ticked(self, *, full: bool) -> None:
        """The loop went round."""
        if not self.is_observed:
            self.is_observed = True
            self._polled_at = self._monotonic()
        self.is_full = full
        self._ticked_at = self._monotonic()

    def paused(self) -> None:
        """The worker consumes nothing, and is meant to."""
        self.is_observed = False

    def polled(self) -> None:
        """The broker answered whether there is a message."""
        self._polled_at = self._monotonic()

    @property
    def since_tick_s(self) -> float:
        """Seconds since the loop last went round."""
        return self._monotonic() - self._ticked_at

    @property
    def since_poll_s(self) -> float:
        """Seconds since the broker last answered."""
        return self._monotonic() - self._polled_at
