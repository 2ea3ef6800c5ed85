"""Outcomes for who keeps them elsewhere: `client.sinks`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client import verbs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.client.views import AsyncTake, Take
    from stopline.contract import SinkEntry, Sinks
    from stopline.ledger.limits import Limits


class SinkViews:
    """How far the sinks are, by a `StopClient`."""

    def __init__(self, limits: Limits, take: Take) -> None:
        self._limits = limits
        self._take = take

    def view(self) -> Sinks:
        """All sinks, and what was lost to them."""
        return self._take(verbs.view_sinks(self._limits))

    def forget(self, name: str) -> bool:
        """Keep nothing for a sink any more; whether there was one."""
        return self._take(verbs.forget_sink(self._limits, name))


class AsyncSinks:
    """The same for an `AsyncStopClient`, and what a sink reads."""

    def __init__(self, limits: Limits, take: AsyncTake) -> None:
        self._limits = limits
        self._take = take

    async def view(self) -> Sinks:
        """As `SinkViews.view`."""
        return await self._take(verbs.view_sinks(self._limits))

    async def forget(self, name: str) -> bool:
        """As `SinkViews.forget`."""
        return await self._take(verbs.forget_sink(self._limits, name))

    async def open(self, name: str, most: int) -> bool:
        """Have every outcome kept for a sink from now on; whether it is new.

        Args:
            name: the sink's: 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -
            most: how many are kept while it is away; what goes beyond that is lost to it.
        """
        return await self._take(verbs.open_sink(self._limits, name, most))

    async def read(self, name: str, reader: str, count: int) -> tuple[SinkEntry, ...]:
        """The next outcomes that no reader of a sink has; none where it has them all."""
        return await self._take(verbs.sink_read(name, reader, count))

    async def take_over(
        self, name: str, reader: str, silent_s: float, count: int
    ) -> tuple[SinkEntry, ...]:
        """Outcomes of readers that have not acknowledged them for so long: they may be dead."""
        return await self._take(verbs.sink_take_over(name, reader, silent_s, count))

    async def acknowledge(self, name: str, places: Sequence[str]) -> None:
        """A sink has kept these: they may go."""
        if places:
            await self._take(verbs.sink_acknowledge(name, places))

    async def leave(self, name: str, reader: str) -> None:
        """A reader reads no more; what it has not acknowledged stays, for others."""
        await self._take(verbs.sink_leave(name, reader))
