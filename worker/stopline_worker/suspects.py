"""Room for suspects: requests whose last worker was lost while it called for them.

Whatever killed that worker may be the request itself. If its neighbours went along with it each
time, they would count as poison as well. So a request that was lost once flies with few others of
its kind, and one that was lost twice is the only such in its engine: a third loss is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline.ledger.values import Grant, SuspectRoom

_TOGETHER: Final = (10, 1)
"""How many may be in flight in one engine that were lost once, and twice or more often. Ten, so
that the hundred calls of a killed worker are made again in ten steps, not in a hundred."""


class Suspects:
    """Counts the suspects of one engine, by how often they were lost."""

    def __init__(self) -> None:
        self._free = list(_TOGETHER)

    def take_room(self) -> SuspectRoom:
        """Take all the room there is for one claim; a claim at the same time gets none."""
        room = tuple(max(0, free) for free in self._free)
        self._free = [free - taken for free, taken in zip(self._free, room, strict=True)]
        return room

    def give_back(self, room: SuspectRoom, grants: Iterable[Grant] = ()) -> None:
        """Give back what a claim did not use for its grants."""
        self._free = [free + taken for free, taken in zip(self._free, room, strict=True)]
        for grant in grants:
            self._count(grant, -1)

    def landed(self, grant: Grant) -> bool:
        """A flight is over; whether it was a suspect's."""
        return self._count(grant, 1)

    def _count(self, grant: Grant, change: int) -> bool:
        if grant.lost == 0:
            return False
        self._free[min(grant.lost, len(self._free)) - 1] += change
        return True
