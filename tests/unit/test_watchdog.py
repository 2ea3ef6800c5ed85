"""When the watchdog holds a consumer to stand still for good."""

from __future__ import annotations

import pytest

from stopline_worker.liveness.consumption import Consumption
from stopline_worker.liveness.watchdog import LIMIT_S, Surroundings, Watchdog


class Kennel:
    """A watchdog with a clock, a broker and work that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.broker_answers = True
        self.has_work = False
        self.is_stopping = False
        self.beats: list[bool] = []
        self.consumption = Consumption(lambda: self.now)
        self.consumption.ticked(full=False)
        surroundings = Surroundings(
            broker_answers=lambda: self.broker_answers,
            has_work=lambda: self.has_work,
            is_stopping=lambda: self.is_stopping,
            beat=self.beats.append,
        )
        self.watchdog = Watchdog(
            self.consumption, surroundings, drain_s=0, monotonic=lambda: self.now
        )

    def pass_time(
        self, seconds: float, *, ticks: bool = True, polls: bool = True, full: bool = False
    ) -> str | None:
        """Let seconds pass and look in each; the first problem found."""
        for _ in range(round(seconds)):
            self.now += 1
            if ticks:
                self.consumption.ticked(full=full)
            if polls:
                self.consumption.polled()
            if problem := self.watchdog.look():
                return problem
        return None


@pytest.fixture
def kennel() -> Kennel:
    return Kennel()


def test_a_consumer_that_polls_is_left_alone(kennel: Kennel) -> None:
    assert kennel.pass_time(100) is None
    assert kennel.beats == [True] * 20


def test_a_loop_that_hangs_is_found(kennel: Kennel) -> None:
    problem = kennel.pass_time(30, ticks=False, polls=False)
    assert problem is not None
    assert "loop has not gone round" in problem


def test_a_loop_that_goes_round_and_does_not_poll_is_found(kennel: Kennel) -> None:
    problem = kennel.pass_time(30, polls=False)
    assert problem is not None
    assert "has not looked at its queues" in problem


def test_a_leaked_room_is_found_and_real_work_is_not_taken_for_one(kennel: Kennel) -> None:
    kennel.has_work = True
    assert kennel.pass_time(100, polls=False, full=True) is None
    kennel.has_work = False
    assert kennel.pass_time(30, polls=False, full=True) is not None


def test_a_worker_that_shuts_down_consumes_nothing_rightly(kennel: Kennel) -> None:
    kennel.is_stopping = True
    assert kennel.pass_time(600, ticks=False, polls=False) is None


def test_a_worker_that_was_told_to_pause_is_left_alone(kennel: Kennel) -> None:
    kennel.consumption.paused()
    assert kennel.pass_time(600, ticks=False, polls=False) is None
    kennel.consumption.ticked(full=False)
    assert kennel.pass_time(3, polls=False) is None


def test_while_the_broker_is_away_nobody_can_consume(kennel: Kennel) -> None:
    kennel.broker_answers = False
    assert kennel.pass_time(600, ticks=False, polls=False) is None
    assert kennel.beats[-1] is False


def test_after_an_outage_the_consumer_has_time_to_come_back(kennel: Kennel) -> None:
    kennel.broker_answers = False
    kennel.pass_time(60, ticks=False, polls=False)
    kennel.broker_answers = True
    assert kennel.pass_time(LIMIT_S - 1, ticks=False, polls=False) is None
    assert kennel.pass_time(100) is None


def test_a_broker_whose_transport_tells_nothing_is_not_judged() -> None:
    kennel = Kennel()
    kennel.consumption.is_observed = False
    kennel.now += 1000
    assert kennel.watchdog.look() is None
