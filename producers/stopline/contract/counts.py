"""What the ledger counts: open requests, receipts, attempts, outcomes, and how long things took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.contract.lanes import Lane
from stopline.contract.outcomes import OutcomeKind, State, Verdict
from stopline.contract.receipts import ReceiptKind, RefusalKind
from stopline.contract.times import from_microseconds

if TYPE_CHECKING:
    from datetime import datetime

STOP_BUCKETS_S: Final = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 7200.0),
)
"""Upper bounds of the time from acceptance to a confirmed stop; above them is one more bucket."""
CALL_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The same of the time that one call took."""
BEYOND: Final = "+Inf"
"""The name of the bucket above the last bound, as Prometheus has it."""


class StatusClass(NamedTuple):
    """What came of an attempt: the verdict, and `2xx` … `5xx`, `none` (no reply) or `lost`."""

    verdict: Verdict
    status: str


def status_class(http_status: int | None) -> str:
    """The class of a status: `2xx`; `none` where there was no reply."""
    return "none" if http_status is None else f"{http_status // 100}xx"


def bucket_name(bounds_s: tuple[float, ...], at: int) -> str:
    """The name of a bucket by its place: its upper bound; `BEYOND` behind the last."""
    return str(bounds_s[at]) if at < len(bounds_s) else BEYOND


class Histogram(NamedTuple):
    """How long things took: a count for each bucket, the one beyond the last included."""

    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float

    @property
    def total(self) -> int:
        """Of all."""
        return sum(self.counts)

    def since(self, earlier: Histogram) -> Histogram:
        """What came in between; of counters that began anew, all of it."""
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        if min(counts) < 0:
            return self
        return Histogram(self.bounds_s, counts, self.sum_s - earlier.sum_s)

    def quantile(self, share: float) -> float | None:
        """Seconds below which so many lie, as Prometheus' `histogram_quantile` reckons; None: none.

        Beyond the last bound it is that bound: nobody knows by how much it was more.
        """
        wanted, below = share * self.total, 0
        if not self.total:
            return None
        low = 0.0
        for bound, count in zip(self.bounds_s, self.counts, strict=False):
            if count and below + count >= wanted:
                return low + (bound - low) * (wanted - below) / count
            below, low = below + count, bound
        return self.bounds_s[-1]


class Counts(NamedTuple):
    """The counters of a ledger. All but `open` only grow."""

    open: dict[tuple[Lane, State], int]
    receipts: dict[ReceiptKind, int]
    refusals: dict[RefusalKind, int]
    outcomes: dict[tuple[Lane, OutcomeKind], int]
    attempts: dict[StatusClass, int]
    stops: dict[Lane, Histogram]
    """From acceptance to a confirmed stop."""
    calls: Histogram
    """One call each; the API knows no lanes."""
    events: dict[str, int]
    """What happened that leaves no record of its own."""
    since: datetime | None
    """When counting began; None: nothing is counted."""

    @property
    def open_total(self) -> int:
        """Of all lanes and states."""
        return sum(self.open.values())


_SINCE: Final = "since"


def is_event(name: str) -> bool:
    """Whether a counter is of what somebody counted by name (`client.count`)."""
    return ":" not in name and name != _SINCE


def parse_counts(fields: dict[str, int]) -> Counts:
    """The counters, from the fields of their hash: `_tally.lua` and `_replies.lua` name them."""
    grouped: dict[str, dict[tuple[str, ...], int]] = {}
    for name, value in fields.items():
        kind, *rest = name.split(":")
        grouped.setdefault(kind if rest else "", {})[tuple(rest) or (kind,)] = value
    of = grouped.get
    return Counts(
        open={
            (lane, state): of("open", {}).get((lane, state), 0) for lane in Lane for state in State
        },
        receipts={kind: of("receipt", {}).get((kind,), 0) for kind in ReceiptKind},
        refusals={kind: of("refused", {}).get((kind,), 0) for kind in RefusalKind},
        outcomes={
            (lane, kind): of("outcome", {}).get((lane, kind), 0)
            for lane in Lane
            for kind in OutcomeKind
        },
        attempts={
            StatusClass(Verdict(verdict), status): count
            for (verdict, status), count in sorted(of("attempt", {}).items())
        },
        stops={lane: _histogram(STOP_BUCKETS_S, of("stop", {}), lane) for lane in Lane},
        calls=_histogram(CALL_BUCKETS_S, of("call", {})),
        events={name: count for (name,), count in of("", {}).items() if is_event(name)},
        since=from_microseconds(fields[_SINCE]) if _SINCE in fields else None,
    )


def _histogram(
    bounds_s: tuple[float, ...], fields: dict[tuple[str, ...], int], *of: str
) -> Histogram:
    names = (*map(str, bounds_s), BEYOND)
    counts = tuple(fields.get((*of, name), 0) for name in names)
    return Histogram(bounds_s, counts, fields.get((*of, "us"), 0) / 1_000_000)
