"""What a service keeps in the ledger for a while: `client.values`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client.verbs.steps import run
from stopline.ledger import commands

if TYPE_CHECKING:
    from stopline.client.views import AsyncTake, Take


class Values:
    """Values by name, each with a time to live; the same for all processes."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def remember(self, name: str, value: bytes, ttl_s: int) -> None:
        """Keep a value for so many seconds."""
        self._take(run(commands.remember(name, value, ttl_s)))

    def recall(self, name: str) -> bytes | None:
        """A value that is kept; None: there is none (any more)."""
        return self._take(run(commands.recall(name)))

    def forget(self, name: str) -> None:
        """Keep it no longer."""
        self._take(run(commands.forget(name)))


class AsyncValues:
    """The same for an `AsyncStopClient`."""

    def __init__(self, take: AsyncTake) -> None:
        self._take = take

    async def remember(self, name: str, value: bytes, ttl_s: int) -> None:
        """As `Values.remember`."""
        await self._take(run(commands.remember(name, value, ttl_s)))

    async def recall(self, name: str) -> bytes | None:
        """As `Values.recall`."""
        return await self._take(run(commands.recall(name)))

    async def forget(self, name: str) -> None:
        """As `Values.forget`."""
        await self._take(run(commands.forget(name)))
