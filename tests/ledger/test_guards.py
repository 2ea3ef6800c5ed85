"""Guards: a source that goes wild is kept back, whatever way its requests come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stopline.contract import (
    Guard,
    GuardLimit,
    HeldFor,
    HeldPlace,
    HoldResult,
    Lane,
    OutcomeKind,
    ReceiptKind,
    State,
    Trip,
)
from stopline.ledger import guards, keys
from tests.ledger.desk import Call
from tests.ledger.guarded import (
    ACCEPTED,
    HELD,
    JOINED,
    LIMITED,
    apply,
    look,
    open_of,
    release,
    stop,
    view_of,
)

if TYPE_CHECKING:
    from tests.ledger.desk import Desk

# --- which guard ----------------------------------------------------------------------------------


def test_the_longest_pattern_rules(desk: Desk) -> None:
    dry = {"dry_run": True}
    apply(
        desk,
        Guard(source="policy:*", **dry),
        Guard(source="policy:night*", limit=GuardLimit(requests=1, window_s=1)),
        Guard(source="policy:night-shift", limit=GuardLimit(requests=9, window_s=1)),
    )
    assert desk.outcome(stop(desk, "1", "policy:day")[0]) is OutcomeKind.DRY_RUN
    assert [stop(desk, f"n{one}", "policy:nightly")[1] for one in "12"] == [ACCEPTED, HELD]
    assert [stop(desk, f"s{one}", "policy:night-shift")[1] for one in "12"] == [ACCEPTED] * 2
    assert stop(desk, "2", "crm")[1] is ACCEPTED


@pytest.mark.parametrize("source", ['a "quoted" one', "back\\slash", "日本 ", "x" * 200])
def test_a_source_of_any_characters_is_known(desk: Desk, source: str) -> None:
    apply(desk, Guard(source=source, dry_run=True))
    assert desk.outcome(stop(desk, "1", source)[0]) is OutcomeKind.DRY_RUN


def test_a_star_alone_guards_everybody(desk: Desk) -> None:
    apply(desk, Guard(source="*", dry_run=True))
    assert desk.outcome(stop(desk, "1", "crm")[0]) is OutcomeKind.DRY_RUN


# --- limit ----------------------------------------------------------------------------------------


def test_beyond_the_limit_all_new_ones_are_held_until_a_person_resets_it(desk: Desk) -> None:
    apply(desk, LIMITED)
    kinds = [stop(desk, str(number))[1] for number in range(5)]
    assert kinds == [ACCEPTED] * 3 + [HELD] * 2
    view = view_of(desk)
    assert (view.trip, view.held) == (Trip.LIMIT, 2)
    desk.time.advance(120)
    assert stop(desk, "later")[1] is HELD
    assert desk.run(guards.reset_guard(desk.limits, "policy:*", None)) is True
    assert view_of(desk).trip is None
    assert [stop(desk, f"new{number}")[1] for number in range(4)] == [ACCEPTED] * 3 + [HELD]
    assert desk.run(guards.reset_guard(desk.limits, "policy:b", None)) is None


def test_never_more_than_so_many_go_in_any_window(desk: Desk) -> None:
    apply(desk, Guard(source="p", limit=GuardLimit(requests=3, window_s=60), auto_reset_s=60))
    went: list[float] = []
    for number in range(200):
        if stop(desk, str(number), "p")[1] is ACCEPTED:
            went.append(desk.time.now_us / 1_000_000)
        desk.time.advance(2)
    assert len(went) >= 3 * 400 // 62
    assert all(later - earlier > 60 for earlier, later in zip(went, went[3:], strict=False))


def test_what_makes_no_new_request_counts_for_nothing(desk: Desk) -> None:
    apply(desk, LIMITED)
    first, _ = stop(desk, "t")
    assert [stop(desk, "t")[1] for _ in range(9)] == [JOINED] * 9
    assert [stop(desk, "x", idempotency_key="k")[1] for _ in range(3)] == [
        ACCEPTED,
        ReceiptKind.DUPLICATE,
        ReceiptKind.DUPLICATE,
    ]
    desk.begin(first).succeed()
    assert stop(desk, "t", issued_ago_s=30)[1] is ReceiptKind.SATISFIED
    assert stop(desk, "last")[1] is ACCEPTED
    assert stop(desk, "beyond")[1] is HELD


def test_a_guard_may_begin_anew_by_itself(desk: Desk) -> None:
    apply(desk, Guard(source="p", limit=GuardLimit(requests=1, window_s=10), auto_reset_s=100))
    assert [stop(desk, one, "p")[1] for one in "12"] == [ACCEPTED, HELD]
    view = view_of(desk)
    assert view.resets_at is not None
    assert view.tripped_at is not None
    assert (view.resets_at - view.tripped_at).total_seconds() == 100
    desk.time.advance(99)
    assert stop(desk, "3", "p")[1] is HELD
    desk.time.advance(2)
    assert stop(desk, "4", "p")[1] is ACCEPTED


# --- held requests --------------------------------------------------------------------------------


def _held(desk: Desk, task_id: str = "t", **fields: Any) -> str:
    """A request that is held, of a guard that lets one go."""
    apply(desk, Guard(source="policy:*", limit=GuardLimit(requests=1, window_s=60)))
    stop(desk, "first")
    request_id, kind = stop(desk, task_id, **fields)
    assert kind is HELD
    return request_id


def test_nothing_held_is_called_for(desk: Desk) -> None:
    request_id = _held(desk)
    assert desk.claim(request_id).grants == ()
    desk.time.advance(100)
    assert request_id not in {one.request_id for one in desk.sweep().grants}
    found = open_of(desk, request_id)
    assert (found.state, found.held_by, found.held_for) == (
        State.HELD,
        "policy:*",
        HeldFor.TRIPPED,
    )
    assert request_id in desk.due()


def test_what_is_held_expires_as_ever(desk: Desk) -> None:
    request_id = _held(desk, lasts_s=50)
    desk.time.advance(51)
    desk.sweep()
    assert desk.outcome(request_id) is OutcomeKind.EXPIRED
    assert view_of(desk).held == 0


def test_a_persons_stop_of_a_held_target_goes_its_way_at_once(desk: Desk) -> None:
    request_id = _held(desk)
    own, kind = stop(desk, "t", "ops")
    assert kind is ACCEPTED
    assert own != request_id
    assert desk.begin(own).succeed() == "ended"
    assert desk.outcome(request_id) is OutcomeKind.STOPPED
    assert desk.document(request_id).satisfied_by == own
    assert view_of(desk).held == 0


def test_the_same_wish_again_joins_what_is_held(desk: Desk) -> None:
    request_id = _held(desk)
    assert {stop(desk, "t", reason=str(number)) for number in range(30)} == {(request_id, HELD)}
    assert view_of(desk).held == 1
    assert open_of(desk, request_id).joined_count == 30


def test_a_resume_supersedes_what_is_held(desk: Desk) -> None:
    request_id = _held(desk)
    assert desk.resume().superseded == (request_id,)
    assert desk.outcome(request_id) is OutcomeKind.SUPERSEDED
    assert release(desk, request_id) == [HoldResult.NOT_HELD]


def test_a_held_one_is_cancelled_like_any_other(desk: Desk) -> None:
    request_id = _held(desk)
    assert desk.cancel(request_id) == "cancelled"
    assert view_of(desk).held == 0


def test_released_it_is_called_for(desk: Desk) -> None:
    request_id = _held(desk)
    words, promoted = desk.run(guards.release(desk.limits, [request_id, "nobody"], None))
    assert list(words) == [HoldResult.RELEASED, HoldResult.UNKNOWN]
    assert [(one.request_id, one.lane) for one in promoted] == [(request_id, Lane.DEFAULT)]
    assert view_of(desk).held == 0
    assert desk.begin(request_id).succeed() == "ended"


def test_released_behind_a_call_in_flight_it_is_the_next(desk: Desk) -> None:
    request_id = _held(desk)
    own, _ = stop(desk, "t", "ops", issued_ago_s=10)
    call = desk.begin(own)
    assert release(desk, request_id) == [HoldResult.RELEASED]
    assert desk.claim(request_id).grants == ()
    call.succeed()
    assert desk.outcome(request_id) is OutcomeKind.STOPPED, "the call began after it was issued"


def test_released_where_two_are_ahead_it_waits_for_its_turn(desk: Desk) -> None:
    request_id = _held(desk)
    first, _ = stop(desk, "t", "ops", issued_ago_s=100)
    call = desk.begin(first)
    call.fail(retry_in_s=1)  # a later wish has attempts of its own
    second, kind = stop(desk, "t", "ops")
    assert kind is ACCEPTED
    assert release(desk, request_id) == [HoldResult.WAITING]
    assert open_of(desk, request_id).held_for is HeldFor.TURN
    desk.time.advance(6)
    desk.begin(first).reject()
    desk.time.advance(6)
    desk.begin(second).reject()
    desk.time.advance(6)
    desk.sweep()
    desk.time.advance(1)
    found = desk.sweep()
    ids = {one.request_id for one in found.grants}
    assert request_id in ids or open_of(desk, request_id).state is State.CALLING


def test_dropped_it_is_cancelled_in_somebodys_name(desk: Desk) -> None:
    request_id = _held(desk)
    words, _ = desk.run(guards.release(desk.limits, [request_id], None, dropped_by="ops"))
    assert list(words) == [HoldResult.CANCELLED]
    document = desk.document(request_id)
    assert document.outcome is OutcomeKind.CANCELLED
    assert "ops" in document.detail


def test_what_was_let_go_is_not_dropped(desk: Desk) -> None:
    request_id = _held(desk)
    release(desk, request_id)
    words, _ = desk.run(guards.release(desk.limits, [request_id], None, dropped_by="ops"))
    assert list(words) == [HoldResult.NOT_HELD]


def test_pages_have_each_held_one_once(desk: Desk) -> None:
    apply(desk, Guard(source="p", limit=GuardLimit(requests=1, window_s=60)))
    ids = [stop(desk, str(number), "p")[0] for number in range(8)][1:]
    place, found = HeldPlace("p"), []
    while True:
        some = desk.run(guards.held_ids(place, 3))[:3]
        if not some:
            break
        found += [one for one, _ in some]
        place = HeldPlace("p", some[-1][1], some[-1][0])
    assert found == ids
    assert [one.request_id for one in desk.run(guards.open_requests(ids))] == ids


# --- dry run, apply -------------------------------------------------------------------------------


def test_a_dry_run_records_and_calls_nothing(desk: Desk) -> None:
    apply(desk, Guard(source="p", dry_run=True))
    request_id, kind = stop(desk, "t", "p")
    assert kind is ACCEPTED
    assert desk.outcome(request_id) is OutcomeKind.DRY_RUN
    assert desk.due() == set()
    assert stop(desk, "t", "ops")[1] is ACCEPTED


def test_guards_are_applied_as_they_were_seen_or_not_at_all(desk: Desk) -> None:
    seen = look(desk).version
    apply(desk, LIMITED)
    assert not desk.run(guards.apply_guards(desk.limits, [], seen, None))
    assert look(desk).rules == (LIMITED,)
    stop(desk, "1")
    apply(desk)
    assert look(desk).views == ()
    assert not desk.ledger.client.exists(keys.GUARDS, keys.GUARD + "policy:*")


def test_what_a_guard_held_that_is_gone_is_seen_still(desk: Desk) -> None:
    request_id = _held(desk)
    apply(desk)
    view = view_of(desk)
    assert (view.guard, view.held) == (None, 1)
    assert release(desk, request_id) == [HoldResult.RELEASED]
    assert look(desk).views == ()


def test_a_batch_counts_what_is_held(desk: Desk) -> None:
    apply(desk, Guard(source="p", limit=GuardLimit(requests=1, window_s=60)))
    ids = [stop(desk, str(number), "p", batch_id="b")[0] for number in range(3)]
    batch = desk.batch("b")
    assert (batch.receipts[HELD], batch.pending) == (2, 3)
    release(desk, *ids[1:])
    for one in ids:
        desk.begin(one).succeed()
    assert desk.batch("b").pending == 0


def test_a_call_of_a_held_ones_successor_is_not_held_back(desk: Desk) -> None:
    """A request that was accepted before its guard tripped goes on."""
    apply(desk, Guard(source="p", limit=GuardLimit(requests=2, window_s=60)))
    first, _ = stop(desk, "a", "p")
    (grant,) = desk.claim(first).grants
    stop(desk, "b", "p")
    assert stop(desk, "c", "p")[1] is HELD
    assert Call(desk, grant).succeed() == "ended"


def test_two_guards_hold_one_request_of_a_target(desk: Desk) -> None:
    apply(
        desk,
        Guard(source="a", limit=GuardLimit(requests=1, window_s=60)),
        Guard(source="b", limit=GuardLimit(requests=1, window_s=60)),
    )
    for source in "ab":
        stop(desk, f"first-{source}", source)
    ids = {stop(desk, "t", source)[0] for source in "abab"}
    assert len(ids) == 1
    assert look(desk).held == 1
    assert release(desk, *ids) == [HoldResult.RELEASED]


def test_a_dry_run_changes_nothing_of_what_is_there(desk: Desk) -> None:
    own, _ = stop(desk, "t", "ops", lane="bulk")
    apply(desk, Guard(source="p", dry_run=True))
    request_id, _ = stop(desk, "t", "p", lane="emergency")
    assert desk.outcome(request_id) is OutcomeKind.DRY_RUN
    found = open_of(desk, own)
    assert (found.lane, found.joined_count) == (Lane.BULK, 0)


def test_a_held_wish_promotes_nobody(desk: Desk) -> None:
    apply(desk, LIMITED)
    for number in range(3):
        stop(desk, f"first{number}")
    own, _ = stop(desk, "t", "ops", lane="bulk", issued_ago_s=10)
    desk.begin(own)
    assert stop(desk, "t", lane="emergency")[1] is HELD
    assert open_of(desk, own).lane is Lane.BULK
