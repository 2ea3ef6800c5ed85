"""The gate: what keeps calls off an API that cannot take them, for all workers together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stopline.contract import Gate, GateCause, Lane, OpenRequest, OutcomeKind, Rate
from stopline.ledger import commands, gates, keys
from stopline.ledger.limits import GateLimits
from stopline.ledger.values import Cause, Retry
from tests.ledger.desk import FAILED, Call

if TYPE_CHECKING:
    from tests.ledger.desk import Desk

_SECOND = 1_000_000


def _limit(desk: Desk, **limits: object) -> None:
    gate = GateLimits(**limits)  # type: ignore[arg-type]  # as each test has it
    desk.limits = replace(desk.limits, gate=gate, upstream_failures_max=3)


def _look(desk: Desk) -> Gate:
    found: Gate = desk.run(gates.gate(desk.limits))
    return found


def _fail(desk: Desk, call: Call, cause: Cause, *, hold_s: float = 0, delay_s: float = 60) -> None:
    grant = call.grant
    settlement = Retry(
        grant.request_id,
        grant.token,
        FAILED,
        cause,
        round(delay_s * _SECOND),
        hold_us=round(hold_s * _SECOND),
        said="HTTP 401",
    )
    assert desk.run(commands.settle(desk.limits, [settlement])).answers == ("waiting",)


def _calls(desk: Desk, count: int, prefix: str = "") -> list[Call]:
    return [desk.begin(desk.stop(f"{prefix}{number}").request_id) for number in range(count)]


# --- credentials ----------------------------------------------------------------------------------


def test_a_refused_token_holds_all_and_uses_up_no_attempt(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 3):
        _fail(desk, call, Cause.REFUSED)
    gate = _look(desk)
    assert (gate.cause, gate.said) == (GateCause.CREDENTIAL, "HTTP 401")
    waiting = [desk.stop(f"later{number}").request_id for number in range(5)]
    claimed = desk.claim(*waiting)
    assert claimed.grants == ()
    assert claimed.shut is GateCause.CREDENTIAL
    assert desk.sweep().grants == ()
    record = desk.status(waiting[0])
    assert record is not None
    assert record.state == "queued"  # type: ignore[union-attr]


def test_one_probe_at_a_time_tries_whether_the_token_is_accepted(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 3):
        _fail(desk, call, Cause.REFUSED)
    waiting = [desk.stop(f"later{number}").request_id for number in range(5)]
    for request_id in waiting:
        desk.claim(request_id)
    desk.time.advance(2.1)
    (grant,) = desk.sweep().grants
    assert grant.request_id == waiting[0], "the most urgent, and the longest due"
    assert desk.sweep().grants == ()
    _fail(desk, Call(desk, grant), Cause.REFUSED)
    assert desk.sweep().grants == (), "the next one has its time"
    desk.time.advance(2.1)
    (grant,) = desk.sweep().grants
    assert grant.request_id == waiting[1]
    assert Call(desk, grant).succeed() == "ended"
    assert _look(desk).cause is None
    assert {one.request_id for one in desk.sweep().grants} >= set(waiting[2:])


def test_a_probe_is_the_most_urgent_that_waits(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 3):
        _fail(desk, call, Cause.REFUSED)
    desk.claim(desk.stop("bulk", lane=Lane.BULK).request_id)
    urgent = desk.stop("urgent", lane=Lane.EMERGENCY).request_id
    desk.claim(urgent)
    desk.time.advance(2.1)
    assert [one.request_id for one in desk.sweep().grants] == [urgent]


def test_no_request_is_burned_however_often_the_token_is_refused(desk: Desk) -> None:
    """Three failures of the upstream would exhaust it."""
    _limit(desk, probe_s=1)
    request_id = desk.stop(lasts_s=3000).request_id
    for _ in range(20):
        _fail(desk, desk.begin(request_id), Cause.REFUSED, delay_s=0)
        desk.time.advance(2.1)
    assert desk.begin(request_id).succeed() == "ended"
    assert desk.outcome(request_id) is OutcomeKind.STOPPED


def test_what_is_forbidden_to_one_user_holds_nobody(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 20):
        _fail(desk, call, Cause.FORBIDDEN)
    assert _look(desk).cause is None
    for user in ("a", "b"):
        _fail(desk, desk.begin(desk.stop("t", user_id=user).request_id), Cause.FORBIDDEN)
    assert _look(desk).cause is GateCause.CREDENTIAL, "three users, and nobody is allowed anything"


def test_a_token_that_is_known_again_is_accepted_though_something_is_forbidden(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 3):
        _fail(desk, call, Cause.REFUSED)
    desk.claim(desk.stop("later").request_id)
    desk.time.advance(2.1)
    (grant,) = desk.sweep().grants
    _fail(desk, Call(desk, grant), Cause.FORBIDDEN)
    assert _look(desk).cause is None


def test_who_comes_while_others_wait_stands_behind_them(desk: Desk) -> None:
    _limit(desk, rate=Rate(1, 1))
    first = [desk.stop(str(number)).request_id for number in range(3)]
    assert len(desk.claim(*first).grants) == 1
    desk.time.advance(1.1)
    late = desk.stop("late").request_id
    assert desk.claim(late).grants == ()
    (grant,) = desk.sweep().grants
    assert grant.request_id in first


def test_lanes_are_looked_through_each_for_itself(desk: Desk) -> None:
    """An engine of a lane where few wait must not begin the other lanes anew."""
    _limit(desk)
    for call in _calls(desk, 3):
        _fail(desk, call, Cause.REFUSED)
    desk.claim(desk.stop("urgent", lane=Lane.EMERGENCY).request_id)
    patient = [desk.stop(f"p{number}", lane=Lane.BULK).request_id for number in range(700)]
    for first in range(0, 700, 100):
        desk.claim(*patient[first : first + 100])
    desk.time.advance(0.5)
    short = desk.stop("short", lane=Lane.BULK, lasts_s=5).request_id
    desk.claim(short)
    desk.time.advance(6)
    for _ in range(5):
        desk.sweep(Lane.EMERGENCY, limit=2)
        desk.sweep(Lane.BULK, limit=2)
        desk.time.advance(1.1)
    assert desk.outcome(short) is OutcomeKind.EXPIRED


def test_what_the_api_asked_for_is_kept_behind_a_shut_gate(desk: Desk) -> None:
    _limit(desk, hold_max_s=0)
    *refused, busy = _calls(desk, 4)
    for call in refused:
        _fail(desk, call, Cause.REFUSED)
    grant = busy.grant
    settlement = Retry(
        *(grant.request_id, grant.token, FAILED, Cause.BUSY, 90 * _SECOND), least_us=60 * _SECOND
    )
    desk.run(commands.settle(desk.limits, [settlement]))
    found = desk.status(grant.request_id)
    assert isinstance(found, OpenRequest)
    assert found.attempts[-1].retry_in_s == pytest.approx(60)


def test_refusals_of_one_users_targets_hold_nobody(desk: Desk) -> None:
    _limit(desk)
    for number in range(6):
        refused, fine = _calls(desk, 2, f"{number}-")
        _fail(desk, refused, Cause.REFUSED)
        assert fine.succeed() == "ended"
    assert _look(desk).cause is None


def test_a_probe_whose_worker_is_lost_is_followed_by_another(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 3):
        _fail(desk, call, Cause.REFUSED)
    waiting = desk.stop("later").request_id
    desk.claim(waiting)
    desk.time.advance(2.1)
    assert len(desk.sweep().grants) == 1
    desk.time.advance(31)
    assert len(desk.sweep().grants) == 1


def test_a_probe_that_did_not_begin_frees_the_gate_at_once(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 3):
        _fail(desk, call, Cause.REFUSED)
    desk.claim(desk.stop("later").request_id)
    desk.time.advance(2.1)
    (grant,) = desk.sweep().grants
    assert Call(desk, grant).release() == "released"
    assert len(desk.sweep().grants) == 1


def test_what_was_in_flight_when_it_was_shut_opens_nothing(desk: Desk) -> None:
    _limit(desk)
    *refused, slow = _calls(desk, 4)
    for call in refused:
        _fail(desk, call, Cause.REFUSED)
    assert slow.succeed() == "ended"
    assert _look(desk).cause is GateCause.CREDENTIAL


# --- breaker and Retry-After ----------------------------------------------------------------------


def test_a_breaker_opens_at_so_many_failures_of_so_many_calls(desk: Desk) -> None:
    _limit(desk, breaker=(3, 5))
    for outcome in "ffs":
        (call,) = _calls(desk, 1, outcome + str(desk.time.now_us))
        if outcome == "f":
            _fail(desk, call, Cause.FAILED)
        else:
            call.succeed()
    gate = _look(desk)
    assert (gate.cause, gate.failed, gate.looked_at) == (None, 2, 3)
    (call,) = _calls(desk, 1, "last")
    _fail(desk, call, Cause.FAILED)
    assert _look(desk).cause is GateCause.BREAKER
    desk.claim(desk.stop("later").request_id)
    assert desk.sweep().grants == ()
    desk.time.advance(2.1)
    (grant,) = desk.sweep().grants
    Call(desk, grant).succeed()
    assert _look(desk).cause is None


def test_without_a_breaker_failures_hold_nobody(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 60):
        _fail(desk, call, Cause.FAILED)
    assert _look(desk).cause is None
    assert len(desk.claim(desk.stop("later").request_id).grants) == 1


@pytest.mark.parametrize(("asked_s", "held_s"), [(5.0, 5.0), (1e9, 300.0)])
def test_retry_after_holds_all_and_not_for_ever(desk: Desk, asked_s: float, held_s: float) -> None:
    _limit(desk)
    (call,) = _calls(desk, 1)
    _fail(desk, call, Cause.BUSY, hold_s=asked_s)
    request_id = desk.stop("later").request_id
    assert desk.claim(request_id).grants == ()
    desk.time.advance(held_s - 1)
    assert desk.sweep().grants == ()
    hold_until = _look(desk).hold_until
    assert hold_until is not None
    desk.time.advance(1.1)
    assert request_id in {one.request_id for one in desk.sweep().grants}
    assert _look(desk).hold_until is None


def test_what_waits_expires_in_time_though_others_stand_before_it(desk: Desk) -> None:
    _limit(desk)
    for call in _calls(desk, 3):
        _fail(desk, call, Cause.REFUSED)
    patient = [desk.stop(f"patient{number}", lasts_s=3000).request_id for number in range(20)]
    desk.claim(*patient)
    short = desk.stop("short", lasts_s=10).request_id
    desk.claim(short)
    desk.time.advance(11)
    for _ in range(3):  # the first probes
        desk.sweep(limit=4)
        desk.time.advance(1.1)
    assert desk.outcome(short) is OutcomeKind.EXPIRED
    assert desk.cancel(patient[5]) == "cancelled"
    desk.resume("patient6")
    assert desk.outcome(patient[6]) is OutcomeKind.SUPERSEDED


# --- rate and calls at a time ---------------------------------------------------------------------


def test_all_workers_together_keep_the_rate(desk: Desk) -> None:
    _limit(desk, rate=Rate(10, 5), emergency_share=0)
    ids = [desk.stop(str(number)).request_id for number in range(100)]
    granted = len(desk.claim(*ids).grants)
    assert granted == 4, "one of the burst is for what comes late"
    for _ in range(100):
        desk.time.advance(0.1)
        claimed = desk.sweep()
        granted += len(claimed.grants)
    assert 4 + 95 <= granted <= 4 + 101
    assert claimed.next_due is not None


def test_the_emergency_lane_is_never_starved(desk: Desk) -> None:
    _limit(desk, rate=Rate(10, 10))
    desk.claim(*[desk.stop(str(number)).request_id for number in range(100)])
    for number in range(20):
        desk.time.advance(0.1)
        desk.sweep(Lane.DEFAULT)
        urgent = desk.stop(f"urgent{number}", lane=Lane.EMERGENCY).request_id
        assert len(desk.claim(urgent).grants) == 1


def test_all_workers_together_keep_the_number_of_calls(desk: Desk) -> None:
    _limit(desk, concurrent=10)
    ids = [desk.stop(str(number)).request_id for number in range(30)]
    grants = desk.claim(*ids).grants
    assert len(grants) == 8, "two are the emergency lane's"
    assert desk.sweep().grants == ()
    urgent = [desk.stop(f"urgent{number}", lane=Lane.EMERGENCY).request_id for number in range(5)]
    assert len(desk.claim(*urgent).grants) == 2
    for grant in grants[:3]:
        Call(desk, grant).succeed()
    assert len(desk.sweep(Lane.DEFAULT).grants) == 1
    desk.time.advance(31)
    # The leases are over: their places are free, and others may call.
    assert len(desk.sweep(Lane.DEFAULT).grants) == 8


def test_fewer_calls_are_made_while_the_api_has_too_much_to_do(desk: Desk) -> None:
    _limit(desk, concurrent=20, adaptive=True)
    calls = _calls(desk, 10)
    for call in calls[:5]:
        _fail(desk, call, Cause.BUSY)
        desk.time.advance(1.1)
    room = _look(desk).room
    assert room is not None
    assert 3 <= room <= 4
    for call in calls[5:]:
        call.succeed()
    more = _look(desk).room
    assert more is not None
    assert room < more <= room + 5 / room


def test_retries_have_a_budget_and_first_calls_go_on(desk: Desk) -> None:
    _limit(desk, retry_budget=True)
    desk.limits = replace(desk.limits, upstream_failures_max=None)
    for call in _calls(desk, 250):
        _fail(desk, call, Cause.FAILED, delay_s=0)
    desk.time.advance(0.5)
    again = desk.sweep(limit=250).grants
    assert len(again) == 200, "what twenty seconds make"
    first = desk.stop("first").request_id
    assert len(desk.claim(first).grants) == 1
    desk.time.advance(0.3)
    assert 1 <= len(desk.sweep(limit=250).grants) <= 10


# --- lanes ----------------------------------------------------------------------------------------


def test_a_person_pauses_a_lane_for_a_while(desk: Desk) -> None:
    _limit(desk)
    request_id = desk.stop(lane=Lane.BULK).request_id
    command = gates.pause_lane(desk.limits, Lane.BULK, 60 * _SECOND, "vendor works", "ops", None)
    assert desk.run(command) is False
    (pause,) = _look(desk).pauses
    assert (pause.lane, pause.reason, pause.by) == (Lane.BULK, "vendor works", "ops")
    assert desk.claim(request_id).grants == ()
    other = desk.stop("other").request_id
    assert len(desk.claim(other).grants) == 1
    # A more urgent wish takes it out of the lane.
    assert desk.stop(lane=Lane.EMERGENCY).request_id == request_id
    assert len(desk.claim(request_id).grants) == 1
    held = desk.stop("held", lane=Lane.BULK).request_id
    desk.claim(held)
    desk.time.advance(61)
    assert [one.request_id for one in desk.sweep(Lane.BULK).grants] == [held]
    assert _look(desk).pauses == ()


def test_a_lane_goes_on_when_somebody_says_so(desk: Desk) -> None:
    request_id = desk.stop().request_id
    desk.run(gates.pause_lane(desk.limits, Lane.DEFAULT, 60 * _SECOND, "r", "b", None))
    desk.run(gates.pause_lane(desk.limits, Lane.BULK, 60 * _SECOND, "r", "b", None))
    assert desk.claim(request_id).grants == ()
    assert desk.run(gates.pause_lane(desk.limits, Lane.DEFAULT, 0, "", "", None)) is True
    assert len(desk.claim(request_id).grants) == 1
    assert [one.lane for one in _look(desk).pauses] == [Lane.BULK]


def test_nothing_is_written_where_nothing_is_the_matter(desk: Desk) -> None:
    _limit(desk)
    (call,) = _calls(desk, 1)
    call.succeed()
    assert not desk.ledger.client.exists(keys.GATE, keys.CALLING, keys.PAUSES)
