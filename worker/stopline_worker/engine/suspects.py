"""Room for suspects: requests whose last worker was lost while it called for them.

Whatever killed that worker may be the request itself. If its neighbours went along with it each
time, they would count as poison as well. So a request that was lost once flies with few others of
its kind, and one that was lost twice with no other suspect at all: a third loss is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline.ledger.values import Grant, SuspectRoom

_TOGETHER: Final = (10, 1)
"""How many may be in flight in one engine that were lost once, and twice or more often. Ten, so
that the hundred calls of a killed worker are made again in ten steps, not in a hundred."""


_NONE: Final = (0, 0)


class Suspects:
    """Counts the suspects of one engine, by how often they were lost."""

    def __init__(self) -> None:
        self._flying = [0, 0]
        self._reserved: SuspectRoom = _NONE

    def take_room(self) -> SuspectRoom:
        """Take all the room there is for one claim; a claim at the same time gets none."""
        once, twice = self._flying
        if any(self._reserved) or twice:
            return _NONE
        self._reserved = (max(0, _TOGETHER[0] - once), 0 if once else _TOGETHER[1])
        return self._reserved

    def give_back(self, room: SuspectRoom, grants: Iterable[Grant] = ()) -> None:
        """End a claim that took room, with what it was granted."""
        if any(room):
            self._reserved = _NONE
        for grant in grants:
            self._count(grant, 1)

    def landed(self, grant: Grant) -> bool:
        """A flight is over; whether it was a suspect's."""
        return self._count(grant, -1)

    def _count(self, grant: Grant, change: int) -> bool:
        if grant.lost == 0:
            return False
        self._flying[min(grant.lost, len(self._flying)) - 1] += change
        return True
