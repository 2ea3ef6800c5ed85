"""What heartbeats say about who stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stopline.contract import Heartbeat, Lane, ProcessRole
from stopline.health import Health, examine

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def _consumer(**fields: Any) -> Heartbeat:
    facts = {
        "process_id": "w@host",
        "role": ProcessRole.CONSUMER,
        "host": "host",
        "pid": 1,
        "lanes": tuple(Lane),
        "beat_at": _ago(3),
        "consumed_at": _ago(1),
        "engines": ("w@host/2",),
        "broker_reachable": True,
    }
    return Heartbeat.model_validate({**facts, **fields})


def _engine(**fields: Any) -> Heartbeat:
    facts = {
        "process_id": "w@host/2",
        "role": ProcessRole.ENGINE,
        "host": "host",
        "pid": 2,
        "lanes": tuple(Lane),
        "beat_at": _ago(3),
        "swept_at": _ago(1),
        "in_flight": 0,
    }
    return Heartbeat.model_validate({**facts, **fields})


def _examine(*beats: Heartbeat, **options: Any) -> Health:
    return examine(beats, NOW, call_timeout_s=20, **options)


def _problems(health: Health) -> list[str]:
    return [f"{one.part}: {one.problem}" for one in health.standstills]


def test_a_worker_that_works_is_healthy() -> None:
    assert _problems(_examine(_consumer(), _engine())) == []


@pytest.mark.parametrize(
    ("consumer", "engine", "problem"),
    [
        ({"consumed_at": _ago(31)}, {}, "consumer w@host: last looked at its queues 31 s ago"),
        ({"broker_reachable": False}, {}, "consumer w@host: the broker is out of reach"),
        ({}, {"swept_at": _ago(36)}, "engine w@host/2: last swept 36 s ago"),
        ({}, {"swept_at": None}, "engine w@host/2: has not swept yet"),
    ],
)
def test_the_part_that_stands_still_is_named(
    consumer: dict[str, Any], engine: dict[str, Any], problem: str
) -> None:
    assert _problems(_examine(_consumer(**consumer), _engine(**engine))) == [problem]


def test_a_silent_process_hangs_or_was_killed_and_serves_no_lane() -> None:
    health = _examine(_consumer(beat_at=_ago(21)), _engine())
    assert _problems(health)[0].startswith("consumer w@host: no heartbeat for 21 s")
    assert "lane bulk: no consumer serves it" in _problems(health)


def test_an_engine_that_was_replaced_does_not_count() -> None:
    """Its consumer lists the engines that it has."""
    killed = _engine(process_id="w@host/1", beat_at=_ago(60))
    assert _problems(_examine(_consumer(), killed, _engine())) == []


def test_a_process_that_is_known_to_be_gone_does_not_count() -> None:
    killed = _consumer(process_id="old@host", pid=7, beat_at=_ago(60))
    health = _examine(_consumer(), killed, _engine(), is_gone=lambda beat: beat.pid == 7)
    assert _problems(health) == []


def test_a_process_that_only_the_others_speak_of_hangs() -> None:
    """Its own heartbeat has expired."""
    assert _problems(_examine(_consumer(), lanes=[])) == [
        "engine w@host/2: no heartbeat: it hangs, or is starting"
    ]
    assert _problems(_examine(_engine(), lanes=[])) == [
        "consumer w@host: no heartbeat: it hangs, or is starting"
    ]


def test_a_consumer_that_is_paused_or_cannot_tell_is_not_judged() -> None:
    assert _problems(_examine(_consumer(consumed_at=None, broker_reachable=None), _engine())) == []


def test_without_heartbeats_no_lane_is_served() -> None:
    assert len(_examine().standstills) == 2 * len(Lane)
    assert _examine(lanes=[]).standstills == ()
