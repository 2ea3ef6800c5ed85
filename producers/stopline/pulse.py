"""From counters to what people want to know: rates, times to stop, ages. Pure.

`stopline top`, the console and whoever else shows it reckon here, so that all show the same.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from stopline.contract import Lane, OutcomeKind, ReceiptKind, Snapshot, State, parse_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from stopline.contract import Counts, LaneView, Overview, StatusClass

T = TypeVar("T")

WINDOW_S: Final = 60.0
"""Rates and times to stop are of the last minute."""
_KEPT_S: Final = 3_700.0
_CLOSE_S: Final = 180.0
"""Of what is longer ago only one snapshot a minute is kept."""
_MINUTE_S: Final = 55.0
_POINT_S: Final = 10.0
"""A point is of so long at least: of a second alone the slowest stop would be all there is."""


class LanePulse(NamedTuple):
    """A lane now, and in the last minute.

    Attributes:
        open: requests by their state, where they are counted.
        open_total: in any state, counted or not.
        oldest_s: how long ago the oldest of them was accepted.
        late_s: by how much the first that is due is late.
        stopped_per_s: confirmed stops.
        p50_s, p99_s: from acceptance to a confirmed stop; None: there was none.
    """

    lane: Lane
    open: dict[State, int]
    open_total: int
    oldest_s: float | None
    late_s: float | None
    stopped_per_s: float | None
    p50_s: float | None
    p99_s: float | None


class Pulse(NamedTuple):
    """All lanes now, and in the last minute; rates are None as long as there is nothing to compare.

    Attributes:
        at: by the ledger's clock.
        accepted_per_s: new requests; joined, duplicate and satisfied ones are none.
        ended_per_s: by how they ended, those that happened.
        attempts_per_s: by verdict and status.
        call_p50_s, call_p99_s: how long one call took.
        dead_letters: how many there are.
    """

    at: datetime
    lanes: tuple[LanePulse, ...]
    accepted_per_s: float | None
    ended_per_s: dict[OutcomeKind, float]
    attempts_per_s: dict[StatusClass, float]
    call_p50_s: float | None
    call_p99_s: float | None
    dead_letters: int

    @property
    def calling(self) -> int:
        """Requests whose call is under way, in all lanes."""
        return sum(one.open[State.CALLING] for one in self.lanes)

    @property
    def oldest_s(self) -> float | None:
        """Of all lanes."""
        return max((one.oldest_s for one in self.lanes if one.oldest_s is not None), default=None)

    @property
    def open_total(self) -> int:
        """Of all lanes."""
        return sum(one.open_total for one in self.lanes)


class Point(NamedTuple):
    """Some time of the past: confirmed stops a second, and times to stop, by lane."""

    at: datetime
    stopped_per_s: float
    p50_s: dict[Lane, float | None]
    p99_s: dict[Lane, float | None]


class Recorder:
    """Keeps the counters of the last hour, and compares."""

    def __init__(self) -> None:
        self._kept: list[Snapshot] = []

    def learn(self, history: Iterable[Snapshot]) -> None:
        """What was before this process began."""
        known = {one.at: one for one in (*history, *self._kept)}
        self._kept = [known[at] for at in sorted(known)]

    def needs_history(self, now: datetime) -> bool:
        """Whether nothing was added for longer than the window: rates would be of all that time."""
        newest = self._kept[-1].at if self._kept else None
        return newest is None or (now - newest).total_seconds() > WINDOW_S

    def add(self, overview: Overview) -> Pulse:
        """Compare with what was a minute ago, and keep it for later."""
        now = Snapshot(overview.at, overview.counts)
        if not self._kept:
            self._kept += _beginning(overview)
        before = self._before(overview)
        self._kept.append(now)
        self._thin(overview)
        return pulse_of(overview, before)

    def points(self) -> Iterator[Point]:
        """The last hour, a point a minute or more often."""
        earlier = self._kept[0] if self._kept else None
        for later in self._kept:
            seconds = (later.at - earlier.at).total_seconds() if earlier else 0.0
            if earlier is not None and seconds >= _POINT_S:
                yield _point(earlier, later, seconds)
                earlier = later

    def _before(self, overview: Overview) -> Snapshot | None:
        at = bisect_right(
            self._kept, -WINDOW_S, key=lambda one: (one.at - overview.at).total_seconds()
        )
        return self._kept[max(0, at - 1)] if self._kept else None

    def _thin(self, overview: Overview) -> None:
        kept: list[Snapshot] = []
        for one in self._kept:
            age_s = (overview.at - one.at).total_seconds()
            is_close = age_s <= _CLOSE_S
            if age_s <= _KEPT_S and (
                is_close or not kept or (one.at - kept[-1].at).total_seconds() >= _MINUTE_S
            ):
                kept.append(one)
        self._kept = kept


def _beginning(overview: Overview) -> list[Snapshot]:
    """When counting began, if that is not long ago: then all counters were 0."""
    since = overview.counts.since
    if since is None or not 0 < (overview.at - since).total_seconds() <= _KEPT_S:
        return []
    return [Snapshot(since, parse_counts({}))]


def pulse_of(overview: Overview, before: Snapshot | None) -> Pulse:
    """What is to be known of a ledger, given how its counters were before."""
    counts, earlier = overview.counts, before.counts if before else overview.counts
    seconds = (overview.at - before.at).total_seconds() if before else 0.0
    calls = counts.calls.since(earlier.calls)
    return Pulse(
        at=overview.at,
        lanes=tuple(
            _lane(lane, overview, view, earlier, seconds) for lane, view in overview.lanes.items()
        ),
        accepted_per_s=_rate(
            counts.receipts[ReceiptKind.ACCEPTED], earlier.receipts[ReceiptKind.ACCEPTED], seconds
        ),
        ended_per_s=_rates(_by_outcome(counts), _by_outcome(earlier), seconds),
        attempts_per_s=_rates(counts.attempts, earlier.attempts, seconds),
        call_p50_s=calls.quantile(0.5),
        call_p99_s=calls.quantile(0.99),
        dead_letters=overview.dead_letters,
    )


def _lane(
    lane: Lane, overview: Overview, view: LaneView, earlier: Counts, seconds: float
) -> LanePulse:
    counts = overview.counts
    stops = counts.stops[lane].since(earlier.stops[lane])
    late_s = _ago(overview, view.due_at)
    return LanePulse(
        lane,
        {state: counts.open[lane, state] for state in State},
        view.open,
        _ago(overview, view.oldest_at),
        late_s if late_s is not None and late_s > 0 else None,
        _rate(stops.total, 0, seconds),
        stops.quantile(0.5),
        stops.quantile(0.99),
    )


def _ago(overview: Overview, moment: datetime | None) -> float | None:
    return None if moment is None else (overview.at - moment).total_seconds()


def _rate(now: int, before: int, seconds: float) -> float | None:
    if seconds <= 0:
        return None
    return (now - before if now >= before else now) / seconds


def _rates(now: dict[T, int], before: dict[T, int], seconds: float) -> dict[T, float]:
    found = {name: _rate(count, before.get(name, 0), seconds) for name, count in now.items()}
    return {name: rate for name, rate in found.items() if rate}


def _by_outcome(counts: Counts) -> dict[OutcomeKind, int]:
    return {kind: sum(counts.outcomes[lane, kind] for lane in Lane) for kind in OutcomeKind}


def _point(earlier: Snapshot, later: Snapshot, seconds: float) -> Point:
    stops = {lane: later.counts.stops[lane].since(earlier.counts.stops[lane]) for lane in Lane}
    return Point(
        later.at,
        sum(one.total for one in stops.values()) / seconds,
        {lane: one.quantile(0.5) for lane, one in stops.items()},
        {lane: one.quantile(0.99) for lane, one in stops.items()},
    )
