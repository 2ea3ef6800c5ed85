"""Guards: the first ones of a source go alone, and failures stop the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.contract import (
    Canary,
    Guard,
    GuardLimit,
    Halt,
    HeldFor,
    HoldResult,
    Trip,
)
from stopline.ledger import guards
from tests.ledger.desk import Call
from tests.ledger.guarded import (
    ACCEPTED,
    HELD,
    LIMITED,
    apply,
    open_of,
    release,
    stop,
    view_of,
)

if TYPE_CHECKING:
    from tests.ledger.desk import Desk

# --- canary and halt ------------------------------------------------------------------------------

_CANARY = Guard(
    source="p",
    limit=GuardLimit(requests=100, window_s=60),
    canary=Canary(first=4, failed_max=1),
)


def test_the_first_ones_go_alone_and_the_rest_follows_by_itself(desk: Desk) -> None:
    apply(desk, _CANARY)
    sent = [stop(desk, str(number), "p") for number in range(10)]
    assert [kind for _, kind in sent] == [ACCEPTED] * 4 + [HELD] * 6
    assert open_of(desk, sent[5][0]).held_for is HeldFor.CANARY
    for request_id, _ in sent[:4]:
        desk.begin(request_id).succeed()
    desk.time.advance(6)
    desk.sweep()  # lets them go
    granted = {one.request_id for one in desk.sweep().grants}
    assert granted == {request_id for request_id, _ in sent[4:]}
    assert stop(desk, "more", "p")[1] is ACCEPTED


def test_where_too_many_of_the_first_fail_nothing_more_is_called(desk: Desk) -> None:
    apply(desk, _CANARY)
    sent = [stop(desk, str(number), "p") for number in range(10)]
    for request_id, _ in sent[:2]:
        desk.begin(request_id).reject()
    assert view_of(desk).trip is Trip.CANARY
    for request_id, _ in sent[2:4]:
        desk.begin(request_id).succeed()
    for _ in range(3):
        desk.time.advance(6)
        assert desk.sweep().grants == ()
    assert open_of(desk, sent[5][0]).held_for is HeldFor.TRIPPED
    assert stop(desk, "more", "p")[1] is HELD


def test_what_ended_otherwise_has_not_failed(desk: Desk) -> None:
    apply(desk, _CANARY)
    sent = [stop(desk, str(number), "p") for number in range(4)]
    for number in range(4):
        desk.cancel(sent[number][0])
    assert view_of(desk).trip is None
    assert stop(desk, "more", "p")[1] is ACCEPTED


def test_after_a_quiet_window_there_is_a_canary_again(desk: Desk) -> None:
    apply(desk, _CANARY)
    for number in range(4):
        desk.begin(stop(desk, str(number), "p")[0]).succeed()
    desk.time.advance(30)
    assert stop(desk, "soon", "p")[1] is ACCEPTED
    desk.time.advance(61)
    assert [stop(desk, f"again{number}", "p")[1] for number in range(5)] == [ACCEPTED] * 4 + [HELD]


def test_those_that_waited_for_the_canary_keep_the_limit(desk: Desk) -> None:
    apply(
        desk,
        Guard(source="p", limit=GuardLimit(requests=5, window_s=60), canary=Canary(first=2)),
    )
    sent = [stop(desk, str(number), "p")[0] for number in range(12)]
    for request_id in sent[:2]:
        desk.begin(request_id).succeed()
    called: list[tuple[int, str]] = []
    for second in range(200):
        desk.time.advance(1)
        for grant in desk.sweep().grants:
            called.append((second, grant.request_id))
            Call(desk, grant).succeed()
    assert sorted(one for _, one in called) == sorted(sent[2:])
    times = [at for at, _ in called]
    assert all(later - first >= 58 for first, later in zip(times, times[5:], strict=False))
    assert view_of(desk).trip is None


def test_a_share_of_failures_halts_the_rest(desk: Desk) -> None:
    apply(desk, Guard(source="p", halt=Halt(failed_share=0.5, of_last=4)))
    for number in range(3):
        desk.begin(stop(desk, f"bad{number}", "p")[0]).reject()
    assert view_of(desk).trip is None, "of fewer than four nothing can be said"
    desk.begin(stop(desk, "good", "p")[0]).succeed()
    assert view_of(desk).trip is Trip.HALT
    assert stop(desk, "more", "p")[1] is HELD


def test_a_guard_whose_canary_is_removed_meanwhile_breaks_no_sweep(desk: Desk) -> None:
    apply(desk, _CANARY)
    sent = [stop(desk, str(number), "p")[0] for number in range(10)]
    apply(desk, Guard(source="p", limit=GuardLimit(requests=100, window_s=60)))
    for _ in range(3):
        desk.time.advance(6)
        desk.sweep()
    assert open_of(desk, sent[-1]).held_for is HeldFor.TRIPPED
    assert release(desk, sent[-1]) == [HoldResult.RELEASED]


def test_a_reset_lets_go_nothing_of_a_canary_that_failed(desk: Desk) -> None:
    apply(desk, _CANARY)
    sent = [stop(desk, str(number), "p")[0] for number in range(10)]
    for request_id in sent[:2]:
        desk.begin(request_id).reject()
    desk.run(guards.reset_guard(desk.limits, "p", None))
    for request_id in sent[2:4]:
        desk.begin(request_id).succeed()
    for _ in range(3):
        desk.time.advance(6)
        assert desk.sweep().grants == ()
    assert view_of(desk).held == 6


def test_what_was_joined_while_it_was_held_goes_by_itself_no_sooner(desk: Desk) -> None:
    apply(desk, LIMITED)
    sent = [stop(desk, str(number), lasts_s=50)[0] for number in range(4)]
    assert stop(desk, "3", lasts_s=500) == (sent[3], HELD)
    desk.run(guards.reset_guard(desk.limits, "policy:*", None))
    desk.time.advance(60)
    assert sent[3] not in {one.request_id for one in desk.sweep().grants}
    assert open_of(desk, sent[3]).held_for is HeldFor.TRIPPED


def test_many_that_wait_for_a_canary_are_looked_at_now_and_then_and_go_at_once(desk: Desk) -> None:
    apply(desk, Guard(source="p", canary=Canary(first=2)))
    sent = [stop(desk, str(number), "p")[0] for number in range(900)]
    due = [open_of(desk, one).next_at for one in sent[2:]]
    assert (max(due) - min(due)).total_seconds() > 15
    for request_id in sent[:2]:
        desk.begin(request_id).succeed()
    called = set()
    for _ in range(60):
        desk.time.advance(0.1)
        for grant in desk.sweep(limit=250).grants:
            called.add(grant.request_id)
            Call(desk, grant).succeed()
    assert called == set(sent[2:])


def test_a_held_request_tells_who_held_it_when_it_has_ended(desk: Desk) -> None:
    apply(desk, LIMITED)
    sent = [stop(desk, str(number))[0] for number in range(4)]
    release(desk, sent[3])
    desk.begin(sent[3]).succeed()
    assert desk.document(sent[3]).held_by == "policy:*"
    desk.begin(sent[0]).succeed()
    assert desk.document(sent[0]).held_by is None
