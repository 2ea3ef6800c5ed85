"""Room for claimed requests: who claims takes slots first."""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """A count of free slots that is taken in bulk, first come, first served."""

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._waiters: deque[tuple[int, asyncio.Future[int]]] = deque()

    @property
    def free(self) -> int:
        """How many nobody holds."""
        return self._free

    async def take(self, wanted: int) -> int:
        """Take up to `wanted` slots; waits until there is at least one."""
        if self._free and not self._waiters:
            return self._grab(wanted)
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        entry = (wanted, waiter)
        self._waiters.append(entry)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.give_back(waiter.result())
            elif entry in self._waiters:
                self._waiters.remove(entry)
            raise

    def top_up(self, wanted: int) -> int:
        """Take up to `wanted` more slots, as far as they are free and nobody waits for them."""
        return 0 if self._waiters else self._grab(wanted)

    def give_back(self, count: int) -> None:
        """Give slots back and hand them to who waits."""
        self._free += count
        while self._free and self._waiters:
            wanted, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(self._grab(wanted))

    def _grab(self, wanted: int) -> int:
        taken = min(wanted, self._free)
        self._free -= taken
        return taken
