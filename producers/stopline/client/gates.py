"""Whether calls are made: `client.gate`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client import verbs

if TYPE_CHECKING:
    from stopline.client.views import AsyncTake, Take
    from stopline.contract import Actor, Gate, Lane
    from stopline.ledger.limits import Limits


class GateControl:
    """The gate, by a `StopClient`."""

    def __init__(self, limits: Limits, take: Take) -> None:
        self._limits = limits
        self._take = take

    def look(self) -> Gate:
        """The gate as it is now."""
        return self._take(verbs.gate(self._limits))

    def pause_lane(
        self, lane: Lane, lasts_s: float, *, reason: str, by: str, actor: Actor | None = None
    ) -> bool:
        """Let the requests of a lane wait, at most a day; whether it was paused before.

        They expire, are cancelled and superseded as ever.

        Raises:
            InvalidRequestError: the time, the reason or the name cannot be meant.
        """
        return self._take(verbs.pause_lane(self._limits, lane, lasts_s, reason, by, actor))

    def resume_lane(self, lane: Lane, *, actor: Actor | None = None) -> bool:
        """Let a paused lane go on; whether it was paused."""
        return self._take(verbs.resume_lane(self._limits, lane, actor))


class AsyncGateControl:
    """The same for an `AsyncStopClient`."""

    def __init__(self, limits: Limits, take: AsyncTake) -> None:
        self._limits = limits
        self._take = take

    async def look(self) -> Gate:
        """As `GateControl.look`."""
        return await self._take(verbs.gate(self._limits))

    async def pause_lane(
        self, lane: Lane, lasts_s: float, *, reason: str, by: str, actor: Actor | None = None
    ) -> bool:
        """As `GateControl.pause_lane`."""
        return await self._take(verbs.pause_lane(self._limits, lane, lasts_s, reason, by, actor))

    async def resume_lane(self, lane: Lane, *, actor: Actor | None = None) -> bool:
        """As `GateControl.resume_lane`."""
        return await self._take(verbs.resume_lane(self._limits, lane, actor))
