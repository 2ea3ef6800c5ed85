"""The gate that all calls of all workers go through: whether the API can take one now."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stopline.contract.document import Recorded
from stopline.contract.lanes import Lane
from stopline.contract.times import Moment, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


_ADVICE: Final = "Put a valid one into STOPLINE_API_TOKEN_FILE, or start again with it"


class GateCause(StrEnum):
    """Why the gate is shut: nothing but a probe goes through."""

    CREDENTIAL = "credential"
    """The API refuses the token (401, 403)."""
    BREAKER = "breaker"
    """Too many of the last calls failed by the API's fault."""


class LanePause(Recorded):
    """A lane that a person paused: its requests wait, and end in time as ever.

    Attributes:
        lane: which.
        reason: why, for people.
        by: who paused it.
        at: since when.
        until: when it goes on by itself.
    """

    lane: Lane
    reason: str
    by: str
    at: Moment
    until: Moment


class Gate(NamedTuple):
    """The gate at a moment, by the ledger's clock.

    Attributes:
        at: the moment.
        cause: why it is shut; None: it is open.
        since: when it was shut.
        said: what the last call that failed said.
        probe_at: when one call tries whether it can be opened.
        hold_until: until when the API asked for no calls (`Retry-After`); None: it does not.
        refused: calls in a row that refused the token, while it is open.
        failed: of the last calls that the breaker looks at.
        looked_at: how many those are.
        room: calls at a time, where that adapts.
        pauses: lanes that are paused.
    """

    at: datetime
    cause: GateCause | None = None
    since: datetime | None = None
    said: str | None = None
    probe_at: datetime | None = None
    hold_until: datetime | None = None
    refused: int = 0
    failed: int = 0
    looked_at: int = 0
    room: float | None = None
    pauses: tuple[LanePause, ...] = ()

    def notices(self) -> Iterator[tuple[str, str]]:
        """Why calls wait, for people: a part and a sentence each; none where they do not."""
        since = _clock(self.since)
        if self.cause is GateCause.CREDENTIAL:
            yield (
                "API",
                f"it refuses the token: calls wait since {since}, but for probes. {_ADVICE}",
            )
        elif self.cause is GateCause.BREAKER:
            yield "API", f"it fails: calls wait since {since}, but for probes"
        if self.hold_until is not None:
            yield "API", f"it asked for no calls until {_clock(self.hold_until)} (Retry-After)"
        for one in self.pauses:
            until = _clock(one.until)
            yield f"lane {one.lane}", f"paused by {one.by} until {until}: {one.reason}"

    def to_json(self) -> dict[str, Any]:
        """The gate as plain JSON values."""
        moments = ("at", "since", "probe_at", "hold_until")
        found: dict[str, Any] = self._asdict()
        for name in moments:
            found[name] = rfc3339(found[name]) if found[name] else None
        found["pauses"] = [one.to_json() for one in self.pauses]
        return found


def _clock(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "?"
