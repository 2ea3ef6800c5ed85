"""Rates, times to stop and ages, from counters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stopline.contract import (
    Lane,
    LaneView,
    OutcomeKind,
    Overview,
    Snapshot,
    State,
    StatusClass,
    Verdict,
    parse_counts,
)
from stopline.pulse import Recorder

_AT = datetime(2026, 11, 26, 8, tzinfo=UTC)
_FOUR = LaneView(4, None, None)
_EMPTY = dict.fromkeys(Lane, LaneView(0, None, None))


def _overview(after_s: float, **counts: int) -> Overview:
    fields = {name.replace("__", ":"): count for name, count in counts.items()}
    return Overview(_AT + timedelta(seconds=after_s), parse_counts(fields), dict(_EMPTY), 3, None)


def test_at_first_there_are_no_rates() -> None:
    overview = _overview(0, open__bulk__queued=4)
    pulse = Recorder().add(overview._replace(lanes={**_EMPTY, Lane.BULK: _FOUR}))
    assert pulse.accepted_per_s is None
    assert pulse.lanes[-1].open == {one: 4 if one is State.QUEUED else 0 for one in State}
    assert (pulse.open_total, pulse.oldest_s, pulse.dead_letters) == (4, None, 3)


def test_rates_are_of_the_last_minute() -> None:
    recorder = Recorder()
    fields = {"receipt__accepted": 0, "attempt__RETRY__5xx": 0, "outcome__bulk__stopped": 0}
    for second in range(121):
        fields = {name: count + (second > 60) * 2 for name, count in fields.items()}
        stops = {"stop__bulk__0.1": fields["outcome__bulk__stopped"]}
        pulse = recorder.add(_overview(second, **fields, **stops))
    assert pulse.accepted_per_s == pytest.approx(2)
    assert pulse.ended_per_s == {OutcomeKind.STOPPED: pytest.approx(2)}
    assert pulse.attempts_per_s == {StatusClass(Verdict.RETRY, "5xx"): pytest.approx(2)}
    bulk = pulse.lanes[-1]
    assert bulk.stopped_per_s == pytest.approx(2)
    assert bulk.p50_s == pytest.approx(0.075)
    assert pulse.lanes[0].p50_s is None


def test_counters_that_began_anew_are_no_negative_rates() -> None:
    recorder = Recorder()
    recorder.add(_overview(0, receipt__accepted=1_000))
    assert recorder.add(_overview(10, receipt__accepted=20)).accepted_per_s == pytest.approx(2)


def test_what_was_before_this_process_is_known() -> None:
    recorder = Recorder()
    minutes = [
        Snapshot(_AT - timedelta(minutes=ago), parse_counts({"stop:bulk:1.0": 600 - 60 * ago}))
        for ago in (3, 2, 1)
    ]
    recorder.learn(minutes)
    pulse = recorder.add(_overview(0, **{"stop__bulk__1.0": 600}))
    assert pulse.lanes[-1].stopped_per_s == pytest.approx(1)
    points = list(recorder.points())
    assert [one.stopped_per_s for one in points] == [pytest.approx(1)] * 3
    assert points[-1].p99_s[Lane.BULK] == pytest.approx(0.995)


def test_what_is_kept_is_bounded() -> None:
    recorder = Recorder()
    for second in range(0, 7_200, 2):
        recorder.add(_overview(second))
    assert len(list(recorder.points())) < 160


def test_ages_and_lateness() -> None:
    view = LaneView(1, _AT - timedelta(seconds=7), _AT - timedelta(seconds=2))
    overview = _overview(0)._replace(lanes={**_EMPTY, Lane.DEFAULT: view})
    pulse = Recorder().add(overview)
    assert pulse.oldest_s == 7
    assert [one.late_s for one in pulse.lanes] == [None, 2, None]
    early = overview._replace(
        lanes={**_EMPTY, Lane.DEFAULT: view._replace(due_at=_AT + timedelta(seconds=5))}
    )
    assert Recorder().add(early).lanes[1].late_s is None


def test_after_a_pause_the_minutes_between_are_looked_up() -> None:
    """Else what is called the last minute would be all of the pause."""
    recorder = Recorder()
    assert recorder.needs_history(_AT)
    recorder.add(_overview(0))
    assert not recorder.needs_history(_AT + timedelta(seconds=30))
    later = _AT + timedelta(hours=8)
    assert recorder.needs_history(later)
    recorder.learn(
        [Snapshot(later - timedelta(seconds=61), parse_counts({"receipt:accepted": 60}))]
    )
    pulse = recorder.add(_overview(8 * 3600, receipt__accepted=121))
    assert pulse.accepted_per_s == pytest.approx(1)
