"""Claims, leases, retries and their ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stopline.contract import Lane, OutcomeKind
from stopline.ledger import keys
from tests.ledger.desk import Call

if TYPE_CHECKING:
    from tests.ledger.desk import Desk


def test_a_claim_is_exclusive(desk: Desk) -> None:
    receipt = desk.stop()
    desk.begin(receipt.request_id)
    assert desk.claim(receipt.request_id).grants == ()


def test_a_sweep_whose_reply_was_lost_can_be_repeated(desk: Desk) -> None:
    receipts = [desk.stop(str(n)) for n in range(3)]
    desk.time.advance(10)
    first = desk.sweep(token="engine:1", limit=2)
    desk.time.advance(1)
    again = desk.sweep(token="engine:1", limit=2)
    assert first.grants == again.grants
    rest = desk.sweep(token="engine:2")
    granted = {one.request_id for one in (*again.grants, *rest.grants)}
    assert granted == {receipt.request_id for receipt in receipts}


def test_an_alias_in_the_index_does_not_stop_the_sweep(desk: Desk) -> None:
    first = desk.stop()
    desk.stop(request_id="celery-id", alias=True)
    desk.ledger.client.zadd(keys.due(Lane.DEFAULT), {"celery-id": 1})
    desk.time.advance(10)
    assert [one.request_id for one in desk.sweep().grants] == [first.request_id]
    assert desk.due() == {first.request_id}


def test_a_claim_whose_reply_was_lost_can_be_repeated(desk: Desk) -> None:
    receipt = desk.stop()
    first = desk.claim(receipt.request_id, token="mine")
    again = desk.claim(receipt.request_id, token="mine")
    assert first.grants == again.grants


def test_without_a_lease_nothing_changes(desk: Desk) -> None:
    receipt = desk.stop()
    call = desk.begin(receipt.request_id)
    desk.time.advance(31)
    assert call.succeed() == "lost"
    assert not call.renew()
    assert desk.outcome(receipt.request_id) is None


def test_a_claim_that_arrives_late_gets_no_further_attempt(desk: Desk) -> None:
    """It was sent again when its reply did not come; the first sending ran after the lease."""
    receipt = desk.stop()
    desk.claim(receipt.request_id, token="mine")
    desk.time.advance(desk.limits.lease_s + 1)
    assert desk.claim(receipt.request_id, token="mine").grants == ()
    assert desk.claim(receipt.request_id, token="other").grants[0].attempt == 2


def test_a_result_settles_the_attempt_that_it_is_of(desk: Desk) -> None:
    """Also where one claim, repeated on its way, was granted two attempts (simulation 3773)."""
    receipt = desk.stop()
    (first,) = desk.claim(receipt.request_id, token="mine").grants
    call = Call(desk, first)
    assert call.fail(retry_in_s=1) == "waiting"
    desk.time.advance(2)
    (second,) = desk.claim(receipt.request_id, token="mine").grants
    assert (second.attempt, call.succeed()) == (2, "lost")
    assert Call(desk, second).succeed() == "ended"


def test_a_stale_token_changes_nothing(desk: Desk) -> None:
    receipt = desk.stop()
    stale = desk.begin(receipt.request_id)
    desk.time.advance(31)
    fresh = desk.begin(receipt.request_id)
    assert stale.succeed() == "lost"
    assert stale.fail() == "lost"
    assert fresh.succeed() == "ended"


def test_renewing_extends_the_lease(desk: Desk) -> None:
    receipt = desk.stop()
    call = desk.begin(receipt.request_id)
    for _ in range(5):
        desk.time.advance(20)
        assert call.renew()
    assert call.succeed() == "ended"


def test_a_message_does_not_cut_backoff_short(desk: Desk) -> None:
    receipt = desk.stop()
    desk.begin(receipt.request_id).fail(retry_in_s=10)
    desk.time.advance(9)
    assert desk.claim(receipt.request_id).grants == ()
    desk.time.advance(1)
    assert len(desk.claim(receipt.request_id).grants) == 1


def test_a_lost_message_is_healed_by_the_sweep(desk: Desk) -> None:
    receipt = desk.stop()
    assert desk.sweep().grants == ()
    desk.time.advance(desk.limits.look_again_s)
    assert [one.request_id for one in desk.sweep().grants] == [receipt.request_id]


def test_a_lost_worker_is_healed_by_the_sweep_and_its_attempt_recorded(desk: Desk) -> None:
    receipt = desk.stop()
    desk.begin(receipt.request_id)
    desk.time.advance(30)
    (grant,) = desk.sweep().grants
    assert grant.attempt == 2
    (attempt,) = desk.status(receipt.request_id).attempts
    assert "worker was lost" in str(attempt.error)


def test_three_lost_workers_in_a_row_are_poison(desk: Desk) -> None:
    receipt = desk.stop()
    for _ in range(3):
        desk.begin(receipt.request_id)
        desk.time.advance(30)
    assert desk.sweep().grants == ()
    assert desk.outcome(receipt.request_id) is OutcomeKind.QUARANTINED


def test_a_result_in_between_clears_the_suspicion(desk: Desk) -> None:
    receipt = desk.stop()
    for _ in range(2):
        desk.begin(receipt.request_id)
        desk.time.advance(30)
    desk.begin(receipt.request_id).fail(retry_in_s=0)
    desk.begin(receipt.request_id)
    desk.time.advance(30)
    (grant,) = desk.sweep().grants
    assert grant.lost == 1


def test_a_drain_counts_for_no_limit(desk: Desk) -> None:
    desk.limits = replace(desk.limits, attempts_max=1, upstream_failures_max=1)
    receipt = desk.stop()
    for _ in range(5):
        desk.begin(receipt.request_id).interrupt()
    assert desk.outcome(receipt.request_id) is None


def test_the_upstreams_fault_ends_nothing_unless_it_is_asked_to(desk: Desk) -> None:
    receipt = desk.stop()
    for _ in range(50):
        desk.begin(receipt.request_id).fail(retry_in_s=0, by_upstream=True)
    status = desk.status(receipt.request_id)
    assert [one.number for one in status.attempts] == [*range(1, 11), *range(41, 51)]
    desk.limits = replace(desk.limits, upstream_failures_max=51)
    desk.begin(receipt.request_id).fail(retry_in_s=0, by_upstream=True)
    document = desk.document(receipt.request_id)
    assert document.outcome is OutcomeKind.EXHAUSTED
    assert document.detail == "The API failed 51 times."
    assert [one.number for one in document.attempts] == [*range(1, 11), *range(42, 52)]


def test_attempts_used_up_end_it_at_once(desk: Desk) -> None:
    receipt = desk.stop()
    for _ in range(4):
        desk.begin(receipt.request_id).fail(retry_in_s=0)
    document = desk.document(receipt.request_id)
    assert document.outcome is OutcomeKind.EXHAUSTED
    assert [one.number for one in document.attempts] == [1, 2, 3, 4]
    assert [one.retry_in_s for one in document.attempts] == [0, 0, 0, None]


def test_a_deadline_that_passes_ends_it_before_the_next_attempt(desk: Desk) -> None:
    receipt = desk.stop(lasts_s=10)
    desk.begin(receipt.request_id).fail(retry_in_s=60)
    assert desk.status(receipt.request_id).attempts[0].retry_in_s <= 10  # up to the deadline
    desk.time.advance(10)
    assert desk.sweep().grants == ()
    assert desk.outcome(receipt.request_id) is OutcomeKind.EXPIRED


def test_a_released_request_is_taken_at_once_and_counts_no_attempt(desk: Desk) -> None:
    receipt = desk.stop()
    assert desk.begin(receipt.request_id).release() == "released"
    (grant,) = desk.sweep().grants
    assert grant.attempt == 1
    assert desk.status(receipt.request_id).attempts == ()


def test_a_sweep_takes_the_most_urgent_lane_first_and_no_more_than_its_limit(desk: Desk) -> None:
    bulk = desk.stop("b", lane=Lane.BULK)
    urgent = desk.stop("e", lane=Lane.EMERGENCY)
    desk.time.advance(10)
    assert [one.request_id for one in desk.sweep(limit=1).grants] == [urgent.request_id]
    assert [one.request_id for one in desk.sweep(limit=1).grants] == [bulk.request_id]


def test_a_sweep_tells_when_to_look_again(desk: Desk) -> None:
    desk.stop()
    accepted_at = desk.time.now_us
    assert desk.sweep().next_due == accepted_at + 5_000_000


def test_an_index_entry_without_a_request_is_removed(desk: Desk) -> None:
    desk.ledger.client.zadd(keys.due(Lane.DEFAULT), {"ghost": 1})
    assert desk.sweep().grants == ()
    assert desk.due() == set()


def test_a_next_request_whose_active_one_vanished_takes_its_place(desk: Desk) -> None:
    first = desk.stop()
    desk.begin(first.request_id)
    second = desk.stop()
    desk.ledger.client.delete(keys.record(first.request_id))
    desk.time.advance(60)
    assert [one.request_id for one in desk.sweep().grants] == [second.request_id]
