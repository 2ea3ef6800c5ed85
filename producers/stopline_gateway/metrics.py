"""Metrics of the whole deployment, from the ledger: the same at every gateway and after restarts.

Names and units by Prometheus' conventions (https://prometheus.io/docs/practices/naming/).
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import stopline
from stopline.contract import BEYOND, GateCause, Histogram, Lane
from stopline_events.rules.tally import FAILED, FIRED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopline.contract import Callbacks, Counts, Gate, Guards, Sinks
    from stopline.health import Health
    from stopline_gateway.sight import Seen

_PREFIX: Final = "stopline"


def exposition(seen: Seen | None, accept: str) -> tuple[bytes, str]:
    """The metrics as text, and its media type; of a ledger that is away only that it is.

    Args:
        seen: what there is to see; None: the ledger cannot be reached.
        accept: what the scraper takes.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(seen))
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, media_type = choose_encoder("")
    return encode(registry), media_type


class _Collector(Collector):
    def __init__(self, seen: Seen | None) -> None:
        self._seen = seen

    def describe(self) -> list[Metric]:
        """Nothing: what there is to see is read once, for `collect`."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        up = GaugeMetricFamily(f"{_PREFIX}_up", "Whether the ledger can be reached.")
        up.add_metric([], float(self._seen is not None))
        yield up
        info = InfoMetricFamily(f"{_PREFIX}_build", "The gateway's version.")
        info.add_metric([], {"version": stopline.__version__})
        yield info
        if self._seen is not None:
            yield from _requests(self._seen)
            if self._seen.overview.counts.since is not None:
                yield from _counters(self._seen.overview.counts)
                yield from _durations(self._seen.overview.counts)
            yield from _workers(self._seen.health, self._seen)
            yield from _gate(self._seen.health.around.gate)
            yield from _guards(self._seen.guards)
            yield from _sinks(self._seen.health.around.sinks)
            yield from _callbacks(self._seen.health.around.callbacks)
            yield from _memory(self._seen)


def _requests(seen: Seen) -> Iterator[Metric]:
    requests = GaugeMetricFamily(
        f"{_PREFIX}_requests", "Requests without an outcome.", labels=("lane", "state")
    )
    for (lane, state), count in seen.overview.counts.open.items():
        requests.add_metric((lane, state), count)
    if seen.overview.counts.since is not None:
        yield requests
    oldest = GaugeMetricFamily(
        f"{_PREFIX}_oldest_request_age_seconds",
        "How long ago the oldest request without an outcome was accepted; 0: there is none.",
        labels=("lane",),
    )
    late = GaugeMetricFamily(
        f"{_PREFIX}_due_lateness_seconds",
        "By how much the first request that is due is late.",
        labels=("lane",),
    )
    for one in seen.pulse.lanes:
        oldest.add_metric((one.lane,), one.oldest_s or 0)
        late.add_metric((one.lane,), one.late_s or 0)
    yield oldest
    yield late
    turn = GaugeMetricFamily(
        f"{_PREFIX}_turn_wait_seconds",
        "How long the first request of those that wait for the turn of their batch has waited.",
        labels=("lane",),
    )
    for lane, view in seen.overview.lanes.items():
        since = view.waits_since
        turn.add_metric((lane,), (seen.overview.at - since).total_seconds() if since else 0)
    yield turn
    dead = GaugeMetricFamily(
        f"{_PREFIX}_dead_letters", "Outcomes and messages that a person may want to look at."
    )
    dead.add_metric([], seen.overview.dead_letters)
    yield dead


def _counters(counts: Counts) -> Iterator[Metric]:
    receipts = CounterMetricFamily(
        f"{_PREFIX}_receipts", "Requests that were accepted, by how.", labels=("receipt",)
    )
    for receipt, count in counts.receipts.items():
        receipts.add_metric((receipt,), count)
    yield receipts
    refusals = CounterMetricFamily(
        f"{_PREFIX}_refusals", "Requests that were refused, by why.", labels=("reason",)
    )
    for reason, count in counts.refusals.items():
        refusals.add_metric((reason,), count)
    yield refusals
    outcomes = CounterMetricFamily(
        f"{_PREFIX}_outcomes", "Requests that ended, by how.", labels=("lane", "outcome")
    )
    for (lane, outcome), count in counts.outcomes.items():
        outcomes.add_metric((lane, outcome), count)
    yield outcomes
    attempts = CounterMetricFamily(
        f"{_PREFIX}_attempts",
        "Calls, by what came of them; 'none': no reply, 'lost': the worker was lost.",
        labels=("verdict", "status"),
    )
    for (verdict, status), count in counts.attempts.items():
        attempts.add_metric((verdict, status), count)
    yield attempts
    ignored = CounterMetricFamily(
        f"{_PREFIX}_events_ignored", "Events whose type means nothing here."
    )
    ignored.add_metric([], counts.events.get("events_ignored", 0))
    yield ignored
    yield from _rules(counts.events)
    trips = CounterMetricFamily(f"{_PREFIX}_guard_trips", "How often guards have tripped.")
    trips.add_metric([], counts.events.get("guard_trips", 0))
    yield trips


def _rules(events: dict[str, int]) -> Iterator[Metric]:
    """How often rules over events fired, and failed."""
    for prefix, name, text in (
        (FIRED, "rule_matches", "How often a rule's condition was true."),
        (FAILED, "rule_failures", "How often a rule could say nothing of an event."),
    ):
        family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=("rule",))
        for event, count in events.items():
            if event.startswith(prefix):
                family.add_metric((event.removeprefix(prefix),), count)
        yield family


def _durations(counts: Counts) -> Iterator[Metric]:
    stops = HistogramMetricFamily(
        f"{_PREFIX}_time_to_stop_seconds",
        "From the acceptance of a request to a confirmed stop by a call of its own.",
        labels=("lane",),
    )
    for lane, histogram in counts.stops.items():
        stops.add_metric((lane,), _buckets(histogram), histogram.sum_s)
    yield stops
    calls = HistogramMetricFamily(f"{_PREFIX}_call_seconds", "How long one call took.")
    calls.add_metric([], _buckets(counts.calls), counts.calls.sum_s)
    yield calls


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = (*map(str, histogram.bounds_s), BEYOND)
    return list(zip(names, map(float, accumulate(histogram.counts)), strict=True))


def _workers(health: Health, seen: Seen) -> Iterator[Metric]:
    ages = GaugeMetricFamily(
        f"{_PREFIX}_heartbeat_age_seconds",
        "How long ago a process was heard of.",
        labels=("role", "process"),
    )
    flying = GaugeMetricFamily(f"{_PREFIX}_calls_in_flight", "Calls on the wire.")
    lag = GaugeMetricFamily(
        f"{_PREFIX}_bridge_lag_messages", "Messages that a bridge has not done.", labels=("source",)
    )
    lags: dict[str, int] = {}  # bridges of one group see the same lag
    for beat in health.processes:
        age_s = max(0.0, (seen.overview.at - beat.beat_at).total_seconds())
        ages.add_metric((beat.role, beat.process_id), age_s)
        if beat.bridge is not None and beat.bridge.lag is not None:
            lags[beat.bridge.source] = max(lags.get(beat.bridge.source, 0), beat.bridge.lag)
    for source, messages in lags.items():
        lag.add_metric((source,), messages)
    flying.add_metric([], seen.pulse.calling)
    yield ages
    yield flying
    yield lag
    standing = GaugeMetricFamily(
        f"{_PREFIX}_standstills", "Parts of the workers that stand still, or are missing."
    )
    standing.add_metric([], len(health.standstills))
    yield standing
    paused = GaugeMetricFamily(
        f"{_PREFIX}_lanes_paused", "Lanes whose messages nobody takes, as somebody said."
    )
    paused.add_metric([], len(health.paused))
    yield paused
    api = GaugeMetricFamily(
        f"{_PREFIX}_api_available", "Whether the API answers, as the calls of engines see it."
    )
    api.add_metric([], float(health.api is None))
    yield api


def _gate(gate: Gate | None) -> Iterator[Metric]:
    if gate is None:
        return
    shut = GaugeMetricFamily(
        f"{_PREFIX}_gate_shut", "Whether calls wait, but for probes, by why.", labels=("cause",)
    )
    for cause in GateCause:
        shut.add_metric((cause,), float(gate.cause is cause))
    yield shut
    hold_s = (gate.hold_until - gate.at).total_seconds() if gate.hold_until else 0.0
    held = GaugeMetricFamily(
        f"{_PREFIX}_gate_hold_seconds", "For how long calls wait still, as Retry-After asked."
    )
    held.add_metric([], hold_s)
    yield held
    paused = GaugeMetricFamily(
        f"{_PREFIX}_lane_paused", "Whether a person paused the lane.", labels=("lane",)
    )
    for lane in Lane:
        paused.add_metric((lane,), float(lane in {one.lane for one in gate.pauses}))
    yield paused


def _guards(guards: Guards) -> Iterator[Metric]:
    tripped = GaugeMetricFamily(
        f"{_PREFIX}_guard_tripped", "Whether a guard has tripped.", labels=("guard",)
    )
    held = GaugeMetricFamily(
        f"{_PREFIX}_held_requests", "Requests that a guard holds.", labels=("guard",)
    )
    for one in guards.views:
        tripped.add_metric((one.source,), float(one.trip is not None))
        held.add_metric((one.source,), one.held)
    yield tripped
    yield held


def _sinks(sinks: Sinks | None) -> Iterator[Metric]:
    if sinks is None:
        return
    waiting = GaugeMetricFamily(
        f"{_PREFIX}_sink_waiting_outcomes", "Outcomes that wait for a sink.", labels=("sink",)
    )
    oldest = GaugeMetricFamily(
        f"{_PREFIX}_sink_oldest_seconds",
        "How long the first of them has waited; 0: none does.",
        labels=("sink",),
    )
    for one in sinks.views:
        if one.waiting is not None:
            waiting.add_metric((one.name,), one.waiting)
        oldest.add_metric((one.name,), one.oldest_s or 0.0)
    yield waiting
    yield oldest
    dropped = CounterMetricFamily(
        f"{_PREFIX}_outcomes_dropped", "Outcomes that went before every sink had them."
    )
    dropped.add_metric([], sinks.dropped)
    yield dropped


def _callbacks(callbacks: Callbacks | None) -> Iterator[Metric]:
    if callbacks is None:
        return
    waiting = GaugeMetricFamily(f"{_PREFIX}_callbacks_waiting", "Callbacks that are to be sent.")
    waiting.add_metric([], callbacks.waiting)
    yield waiting
    late = GaugeMetricFamily(
        f"{_PREFIX}_callbacks_late_seconds", "By how much the first of them is late."
    )
    late.add_metric([], callbacks.oldest_s or 0.0)
    yield late
    dead = GaugeMetricFamily(f"{_PREFIX}_callbacks_given_up", "Callbacks that were given up.")
    dead.add_metric([], callbacks.dead)
    yield dead


def _memory(seen: Seen) -> Iterator[Metric]:
    if seen.overview.memory is None:
        return
    used = GaugeMetricFamily(f"{_PREFIX}_ledger_memory_bytes", "What the ledger's server uses.")
    used.add_metric([], seen.overview.memory.used_bytes)
    yield used
    most = GaugeMetricFamily(f"{_PREFIX}_ledger_memory_max_bytes", "Its maxmemory; 0: it has none.")
    most.add_metric([], seen.overview.memory.max_bytes)
    yield most
