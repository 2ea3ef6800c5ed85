"""How the whole deployment does, for all who look: the ledger is asked twice a second at most."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.health import examine
from stopline.pulse import Point, Recorder
from stopline_gateway.shared import Shared

if TYPE_CHECKING:
    from stopline import AsyncStopClient
    from stopline.contract import Guards, Overview
    from stopline.health import Health
    from stopline.pulse import Pulse

_HOLDS_S: Final = 0.45
_HEALTH_HOLDS_S: Final = 2.0
"""Heartbeats come every five seconds."""
_HISTORY: Final = timedelta(hours=1)


class Seen(NamedTuple):
    """What there was to see at a moment.

    Attributes:
        overview: counters, lanes.
        pulse: the same, compared with a minute ago.
        health: what the heartbeats say.
        points: the last hour.
        guards: what keeps back sources that go wild.
    """

    overview: Overview
    pulse: Pulse
    health: Health
    points: tuple[Point, ...]
    guards: Guards


class Sight:
    """Looks for all viewers of a process, as often as they look and twice a second at most.

    Args:
        client: of the ledger.
        call_timeout_s: how long a call may take, by which engines are judged.
    """

    def __init__(self, client: AsyncStopClient, call_timeout_s: float) -> None:
        self._client = client
        self._call_timeout_s = call_timeout_s
        self._recorder = Recorder()
        self._seen = Shared(self._look, _HOLDS_S)
        self._health = Shared(self._examine, _HEALTH_HOLDS_S)

    async def look(self) -> Seen:
        """How it is now; raises `StoplineError` where the ledger cannot be reached."""
        return await self._seen.get()

    def forget(self) -> None:
        """Somebody here changed something: who looks next sees it."""
        self._seen.forget()
        self._health.forget()

    async def _look(self) -> Seen:
        overview = await self._client.view.overview()
        if self._recorder.needs_history(overview.at):
            self._recorder.learn(await self._client.view.history(overview.at - _HISTORY))
        health, guards = await self._health.get()
        pulse = self._recorder.add(overview)
        return Seen(overview, pulse, health, tuple(self._recorder.points()), guards)

    async def _examine(self) -> tuple[Health, Guards]:
        beats = await self._client.heartbeats()
        health = examine(
            beats.processes,
            beats.now,
            call_timeout_s=self._call_timeout_s,
            around=beats.around._replace(guards=None),  # the page of guards tells of them
        )
        return health, beats.guards
