"""Guards and what they hold: `client.guards`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client import verbs
from stopline.contract import HeldPlace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from stopline.client.verbs import HeldPage
    from stopline.client.views import AsyncTake, Take
    from stopline.contract import Actor, Guard, Guards, HoldResult, OpenRequest
    from stopline.ledger.limits import Limits

_PAGE = 250


class GuardControl:
    """The guards, by a `StopClient`."""

    def __init__(self, limits: Limits, take: Take) -> None:
        self._limits = limits
        self._take = take

    def look(self) -> Guards:
        """All guards, how they are, and how many requests each holds."""
        return self._take(verbs.guards(self._limits))

    def apply(
        self, guards: Sequence[Guard], *, seen: str | None = None, actor: Actor | None = None
    ) -> bool:
        """Put guards in the place of those that are there, all in one step.

        Args:
            guards: all that there are to be; those that stay keep their states.
            seen: the `version` of those that are to be replaced; None: whichever are there.
            actor: who does it, for the audit trail.

        Returns:
            False where others were there than those that were seen: nothing was changed.

        Raises:
            InvalidRequestError: two are of one source, or there are too many.
        """
        return self._take(verbs.apply_guards(self._limits, guards, seen, actor))

    def reset(self, source: str, *, actor: Actor | None = None) -> bool | None:
        """Let a guard begin anew; whether it had tripped, None where there is no such guard.

        What it holds, it holds still.
        """
        return self._take(verbs.reset_guard(self._limits, source, actor))

    def held_page(self, place: HeldPlace, *, limit: int = 100) -> HeldPage:
        """Some of what a guard holds, the oldest first."""
        return self._take(verbs.held_page(place, limit))

    def held(self, source: str) -> Iterator[OpenRequest]:
        """All that a guard holds, the oldest first, a page at a time."""
        place: HeldPlace | None = HeldPlace(source)
        while place is not None:
            page = self.held_page(place, limit=_PAGE)
            yield from page.requests
            place = page.place

    def release(
        self, request_ids: Sequence[str], *, actor: Actor | None = None
    ) -> dict[str, HoldResult]:
        """Let held requests go: the rules of causal dedup decide anew what becomes of each."""
        return self._take(verbs.release(self._limits, request_ids, actor))

    def discard(
        self, request_ids: Sequence[str], *, by: str = "unknown", actor: Actor | None = None
    ) -> dict[str, HoldResult]:
        """Drop held requests: they end as `cancelled`."""
        return self._take(verbs.discard_held(self._limits, request_ids, by, actor))


class AsyncGuardControl:
    """The same for an `AsyncStopClient`."""

    def __init__(self, limits: Limits, take: AsyncTake) -> None:
        self._limits = limits
        self._take = take

    async def look(self) -> Guards:
        """As `GuardControl.look`."""
        return await self._take(verbs.guards(self._limits))

    async def apply(
        self, guards: Sequence[Guard], *, seen: str | None = None, actor: Actor | None = None
    ) -> bool:
        """As `GuardControl.apply`."""
        return await self._take(verbs.apply_guards(self._limits, guards, seen, actor))

    async def reset(self, source: str, *, actor: Actor | None = None) -> bool | None:
        """As `GuardControl.reset`."""
        return await self._take(verbs.reset_guard(self._limits, source, actor))

    async def held_page(self, place: HeldPlace, *, limit: int = 100) -> HeldPage:
        """As `GuardControl.held_page`."""
        return await self._take(verbs.held_page(place, limit))

    async def held(self, source: str) -> AsyncIterator[OpenRequest]:
        """As `GuardControl.held`."""
        place: HeldPlace | None = HeldPlace(source)
        while place is not None:
            page = await self.held_page(place, limit=_PAGE)
            for one in page.requests:
                yield one
            place = page.place

    async def release(
        self, request_ids: Sequence[str], *, actor: Actor | None = None
    ) -> dict[str, HoldResult]:
        """As `GuardControl.release`."""
        return await self._take(verbs.release(self._limits, request_ids, actor))

    async def discard(
        self, request_ids: Sequence[str], *, by: str = "unknown", actor: Actor | None = None
    ) -> dict[str, HoldResult]:
        """As `GuardControl.discard`."""
        return await self._take(verbs.discard_held(self._limits, request_ids, by, actor))
