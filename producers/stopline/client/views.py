"""What there is to see: `client.view`, for both clients. No call looks at everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from stopline.client import verbs
from stopline.client.arguments import target_of
from stopline.contract import RequestFilter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from datetime import datetime

    from stopline.contract import (
        Batch,
        OpenPage,
        OpenPlace,
        Overview,
        Recount,
        Snapshot,
        TargetView,
    )
    from stopline.ledger.limits import Limits

    T = TypeVar("T")

    class Take(Protocol):
        """Takes a verb's steps."""

        def __call__(self, verb: Generator[verbs.Step, Any, T], /) -> T:
            """Its result."""

    class AsyncTake(Protocol):
        """The same for asyncio."""

        def __call__(self, verb: Generator[verbs.Step, Any, T], /) -> Awaitable[T]:
            """Its result."""


EVERYTHING: Final = RequestFilter()
_DAY: Final = 1_440


class Views:
    """The views of a `StopClient`."""

    def __init__(self, limits: Limits, take: Take) -> None:
        self._limits = limits
        self._take = take

    def overview(self) -> Overview:
        """Counters, lanes, and how many dead letters there are, in one step."""
        return self._take(verbs.overview(self._limits))

    def history(self, since: datetime, *, count: int = _DAY) -> tuple[Snapshot, ...]:
        """The counters as they were each minute of the last day, the oldest first."""
        return self._take(verbs.history(since, count))

    def open_page(
        self,
        wanted: RequestFilter = EVERYTHING,
        *,
        place: OpenPlace | None = None,
        limit: int = 100,
    ) -> OpenPage:
        """Open requests, by lane and when they are due.

        A page may have fewer than asked for, or none, and a place to go on from all the same: of a
        large ledger one call looks at some ten thousand requests.
        """
        return self._take(verbs.open_page(wanted, place, limit))

    def recent_page(
        self, wanted: RequestFilter = EVERYTHING, *, place: str | None = None, limit: int = 100
    ) -> verbs.RecentPage:
        """The last outcomes (STOPLINE_RECENT_MAX), the newest first."""
        return self._take(verbs.recent_page(wanted, place, limit))

    def batches(
        self, *, until: datetime | None = None, limit: int = 100
    ) -> tuple[tuple[Batch, ...], datetime | None]:
        """The last batches, the newest first, and the moment before which to go on."""
        return self._take(verbs.recent_batches(until, limit))

    def target(
        self, user_id: str, task_id: str, sub_user_id: str | None = None
    ) -> TargetView | None:
        """What is known of a target; None: nothing (any more)."""
        return self._take(verbs.target(target_of(user_id, task_id, sub_user_id)))

    def recount(self, *, repair: bool = False) -> Recount:
        """Count what is open anew; with `repair`, put wrong counters right."""
        return self._take(verbs.recount(repair=repair))


class AsyncViews:
    """The same for an `AsyncStopClient`."""

    def __init__(self, limits: Limits, take: AsyncTake) -> None:
        self._limits = limits
        self._take = take

    async def overview(self) -> Overview:
        """As `Views.overview`."""
        return await self._take(verbs.overview(self._limits))

    async def history(self, since: datetime, *, count: int = _DAY) -> tuple[Snapshot, ...]:
        """As `Views.history`."""
        return await self._take(verbs.history(since, count))

    async def open_page(
        self,
        wanted: RequestFilter = EVERYTHING,
        *,
        place: OpenPlace | None = None,
        limit: int = 100,
    ) -> OpenPage:
        """As `Views.open_page`."""
        return await self._take(verbs.open_page(wanted, place, limit))

    async def recent_page(
        self, wanted: RequestFilter = EVERYTHING, *, place: str | None = None, limit: int = 100
    ) -> verbs.RecentPage:
        """As `Views.recent_page`."""
        return await self._take(verbs.recent_page(wanted, place, limit))

    async def batches(
        self, *, until: datetime | None = None, limit: int = 100
    ) -> tuple[tuple[Batch, ...], datetime | None]:
        """As `Views.batches`."""
        return await self._take(verbs.recent_batches(until, limit))

    async def target(
        self, user_id: str, task_id: str, sub_user_id: str | None = None
    ) -> TargetView | None:
        """As `Views.target`."""
        return await self._take(verbs.target(target_of(user_id, task_id, sub_user_id)))

    async def recount(self, *, repair: bool = False) -> Recount:
        """As `Views.recount`."""
        return await self._take(verbs.recount(repair=repair))
