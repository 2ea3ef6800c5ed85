"""The ledger's time, carried on by this process's monotonic clock.

Nobody compares a wall clock of his own with a ledger time: every reply of a script carries the
ledger's time, and in between the monotonic clock counts on. It also counts while a process is
stopped (SIGSTOP), so a lease that ended meanwhile is seen to have ended.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SECOND_US = 1_000_000


class LedgerClock:
    """Microseconds since the epoch by the ledger's clock, ahead of it by a reply's way at most."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset_us: float | None = None

    def monotonic(self) -> float:
        """The monotonic clock; what it says when a command is sent, `observe` needs."""
        return self._monotonic()

    def observe(self, now_us: int, started: float) -> None:
        """Learn the ledger's time from a reply to a command sent at `started`.

        The script ran after that moment, so what is counted from there is never behind the
        ledger: a lease is held to end early rather than late.
        """
        self._offset_us = now_us - started * _SECOND_US

    def now_us(self) -> int:
        """The ledger's time.

        Raises:
            RuntimeError: no reply was observed yet.
        """
        if self._offset_us is None:
            msg = "the ledger's clock is not known before its first reply"
            raise RuntimeError(msg)
        return round(self._monotonic() * _SECOND_US + self._offset_us)
