"""Callbacks on their way: `client.callbacks`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client import verbs
from stopline.ledger.callbacks import Follows, Sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stopline.client.views import AsyncTake, Take
    from stopline.contract import Callback, Callbacks, CallbackView
    from stopline.ledger.limits import Limits

__all__ = ["AsyncCallbackControl", "CallbackControl", "Follows", "Sent"]


class CallbackControl:
    """Callbacks, by a `StopClient`."""

    def __init__(self, limits: Limits, take: Take) -> None:
        self._limits = limits
        self._take = take

    def count(self) -> Callbacks:
        """How many wait, and how many were given up."""
        return self._take(verbs.count_callbacks(self._limits))

    def dead(self) -> Iterator[CallbackView]:
        """Those that were given up, the newest first."""
        first = 0
        while True:
            looked_at, some = self._take(verbs.dead_callbacks(first))
            if not looked_at:
                return
            yield from some
            first += looked_at

    def redrive(self, ids: Sequence[str]) -> dict[str, bool]:
        """Send some again that were given up; whether each was one."""
        return self._take(verbs.redrive_callbacks(self._limits, ids))

    def discard(self, ids: Sequence[str]) -> dict[str, bool]:
        """Drop some that were given up; whether each was one."""
        return self._take(verbs.redrive_callbacks(self._limits, ids, drop=True))


class AsyncCallbackControl:
    """What a process that sends them needs of an `AsyncStopClient`."""

    def __init__(self, limits: Limits, take: AsyncTake) -> None:
        self._limits = limits
        self._take = take

    async def count(self) -> Callbacks:
        """As `CallbackControl.count`."""
        return await self._take(verbs.count_callbacks(self._limits))

    async def add(self, some: Sequence[Callback]) -> int:
        """Take callbacks in, each once; how many are new."""
        return await self._take(verbs.add_callbacks(self._limits, some))

    async def claim(self, limit: int, lease_s: float) -> tuple[Callback, ...]:
        """Callbacks that are to be sent now; they come again when the lease is over."""
        return await self._take(verbs.claim_callbacks(self._limits, limit, lease_s))

    async def settle(self, some: Sequence[Sent]) -> None:
        """Write down what came of sending some."""
        await self._take(verbs.settle_callbacks(self._limits, some))
