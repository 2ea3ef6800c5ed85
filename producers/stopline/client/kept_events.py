"""Events as they came in, where they are kept: `client.events`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client import verbs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import datetime

    from stopline.client.views import AsyncTake, Take
    from stopline.ledger.limits import Limits


class KeptEvents:
    """The last events, by a `StopClient`."""

    def __init__(self, limits: Limits, take: Take) -> None:
        self._limits = limits
        self._take = take

    def keep(self, documents: Sequence[str], most: int) -> None:
        """Keep events, each a JSON document; so many of the last ones stay."""
        self._take(verbs.keep_events(self._limits, documents, most))

    def since(self, moment: datetime) -> Iterator[str]:
        """Those that came since a moment, the oldest first, a page at a time."""
        place: str | None = verbs.events_since(moment)
        while place is not None:
            place, documents = self._take(verbs.kept_events(place))
            yield from documents


class AsyncKeptEvents:
    """The same for an `AsyncStopClient`."""

    def __init__(self, limits: Limits, take: AsyncTake) -> None:
        self._limits = limits
        self._take = take

    async def keep(self, documents: Sequence[str], most: int) -> None:
        """As `KeptEvents.keep`."""
        await self._take(verbs.keep_events(self._limits, documents, most))

    async def since(self, moment: datetime) -> AsyncIterator[str]:
        """As `KeptEvents.since`."""
        place: str | None = verbs.events_since(moment)
        while place is not None:
            place, documents = await self._take(verbs.kept_events(place))
            for document in documents:
                yield document
