"""Outcomes as they come, for any number of streams: a process has one reader for them all."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from stopline import AsyncStopClient
    from stopline.contract import KeptOutcome, Outcome

_log = logging.getLogger(__name__)
_BLOCK_S: Final = 1.0
_PAGE: Final = 250
_AHEAD_MAX: Final = 2_000
"""Outcomes that a slow stream may be behind; then it reads the ledger itself until it has caught
up."""
_AGAIN_S: Final = 0.5
_QUIET_S: Final = 10.0


class Gap:
    """Some outcomes between the last one that was given and the next are no longer kept."""


GAP: Final = Gap()


class Step(NamedTuple):
    """How far a stream is, and what was found there; None: nothing for a while."""

    place: str
    found: Outcome | Gap | None


class Feed:
    """The outcomes of the ledger as they come."""

    def __init__(self, client: AsyncStopClient) -> None:
        self._client = client
        self._followers: set[_Follower] = set()
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def follow(self, after: str | None) -> AsyncGenerator[Step]:
        """Outcomes after a place; None: from now on.

        The first step says where it begins, and others that there was nothing for a while: who
        comes again goes on from the last one.

        Raises:
            StoplineError: the ledger cannot be reached.
        """
        follower = _Follower()
        place = await self._client.last_outcome() if after is None else after
        self._followers.add(follower)
        self._start()
        try:
            yield Step(place, None)
            while True:
                # What comes from then on is given; what came before is read here.
                while not await _happens(self._ready):
                    yield Step(place, None)
                async for step in self._catch_up(place):
                    place = step.place
                    yield step
                async for kept in follower.take():
                    if kept is None:
                        yield Step(place, None)
                    elif _number(kept.place) > _number(place):
                        place = kept.place
                        yield Step(place, kept.outcome)
        finally:
            self._followers.discard(follower)

    async def _catch_up(self, place: str) -> AsyncIterator[Step]:
        while True:
            page = await self._client.outcomes(place, count=_PAGE)
            if page.has_gap:
                yield Step(place, GAP)
            for kept in page.outcomes:
                place = kept.place
                yield Step(place, kept.outcome)
            if len(page.outcomes) < _PAGE:
                return

    def _start(self) -> None:
        if self._reader is None or self._reader.done():
            self._break_off()
            self._reader = asyncio.create_task(self._read())

    def _break_off(self) -> None:
        """What comes now is given to nobody: all read it themselves, once it goes on."""
        self._ready.clear()
        for follower in self._followers:
            follower.lose()

    async def _read(self) -> None:
        """Read what comes, as long as somebody follows."""
        place: str | None = None
        while self._followers:
            try:
                if place is None:
                    place = await self._client.last_outcome()
                    self._ready.set()
                page = await self._client.outcomes(place, count=_PAGE, block_s=_BLOCK_S)
            except Exception as error:  # noqa: BLE001  # whatever it is, streams must not fall silent
                _log.warning("outcomes are not read: %r", error, extra={"action": "feed_failed"})
                place = None
                self._break_off()
                await asyncio.sleep(_AGAIN_S)
                continue
            for kept in page.outcomes:
                place = kept.place
                for follower in self._followers:
                    follower.give(kept)

    async def close(self) -> None:
        """Read no more."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)


class _Follower:
    """What one stream has not been given yet."""

    def __init__(self) -> None:
        self._ahead: deque[KeptOutcome] = deque()
        self._changed = asyncio.Event()
        self._is_lost = False

    def give(self, kept: KeptOutcome) -> None:
        if len(self._ahead) >= _AHEAD_MAX:
            self.lose()
        if not self._is_lost:
            self._ahead.append(kept)
            self._changed.set()

    def lose(self) -> None:
        """Some of what comes is not given: the stream reads it itself."""
        self._ahead.clear()
        self._is_lost = True
        self._changed.set()

    async def take(self) -> AsyncIterator[KeptOutcome | None]:
        """What comes, until something was lost; None when there was nothing for a while."""
        while not self._is_lost:
            while self._ahead:
                yield self._ahead.popleft()
            self._changed.clear()
            if not await _happens(self._changed):
                yield None
        self._is_lost = False


async def _happens(event: asyncio.Event) -> bool:
    """Whether something happens before it is time to say that somebody is still here."""
    try:
        async with asyncio.timeout(_QUIET_S):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _number(place: str) -> tuple[int, int]:
    milliseconds, _, number = place.partition("-")
    return int(milliseconds), int(number or 0)
