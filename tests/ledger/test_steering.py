"""Cancelling, urgency, and what both do to those that wait (docs/semantics.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.contract import Lane, OutcomeKind, ReceiptKind

if TYPE_CHECKING:
    from tests.ledger.desk import Desk


class TestCancel:
    def test_it_ends_what_is_queued_and_says_who_did_it(self, desk: Desk) -> None:
        receipt = desk.stop()
        assert desk.cancel(receipt.request_id, by="ana") == "cancelled"
        document = desk.document(receipt.request_id)
        assert (document.outcome, document.detail) == (OutcomeKind.CANCELLED, "Cancelled by ana.")

    def test_in_flight_it_forbids_further_attempts(self, desk: Desk) -> None:
        receipt = desk.stop()
        call = desk.begin(receipt.request_id)
        assert desk.cancel(receipt.request_id) == "no_further_attempt"
        call.fail()
        assert desk.outcome(receipt.request_id) is OutcomeKind.CANCELLED

    def test_in_flight_the_call_may_still_succeed(self, desk: Desk) -> None:
        receipt = desk.stop()
        call = desk.begin(receipt.request_id)
        desk.cancel(receipt.request_id)
        call.succeed()
        assert desk.outcome(receipt.request_id) is OutcomeKind.STOPPED

    def test_a_wish_after_the_cancel_does_not_join_what_is_cancelled(self, desk: Desk) -> None:
        first = desk.stop()
        call = desk.begin(first.request_id)
        desk.cancel(first.request_id)
        second = desk.stop(issued_ago_s=0.0)
        assert second.request_id != first.request_id
        call.fail()
        assert desk.outcome(first.request_id) is OutcomeKind.CANCELLED
        assert [one.request_id for one in desk.sweep().grants] == [second.request_id]

    def test_an_ended_or_unknown_request_is_left_alone(self, desk: Desk) -> None:
        receipt = desk.stop()
        desk.begin(receipt.request_id).succeed()
        assert desk.cancel(receipt.request_id) == "already_finished"
        assert desk.cancel("nobody") == "unknown"
        assert desk.outcome(receipt.request_id) is OutcomeKind.STOPPED


class TestUrgency:
    """An urgent wish must not wait behind a lane that is full."""

    @pytest.mark.parametrize("joins", [False, True])
    def test_the_request_it_waits_for_is_taken_to_its_lane(self, desk: Desk, joins: bool) -> None:
        first = desk.stop(lane=Lane.BULK)
        call = desk.begin(first.request_id)
        if joins:
            desk.stop(lane=Lane.DEFAULT)
        desk.stop(lane=Lane.EMERGENCY)
        call.fail(retry_in_s=1)
        desk.time.advance(1)
        (grant,) = desk.sweep(Lane.EMERGENCY).grants
        assert grant.request_id == first.request_id

    def test_a_next_request_expires_at_its_own_deadline(self, desk: Desk) -> None:
        first = desk.stop()
        desk.begin(first.request_id).fail(retry_in_s=1)
        desk.time.advance(1)
        call = desk.begin(first.request_id)
        second = desk.stop(lasts_s=10)
        desk.time.advance(10)
        assert desk.sweep().grants == ()
        assert desk.outcome(second.request_id) is OutcomeKind.EXPIRED
        assert call.succeed() == "ended"

    def test_no_wish_joins_a_request_that_will_not_be_called_for_again(self, desk: Desk) -> None:
        first = desk.stop()
        for _ in range(3):  # its third worker is lost
            desk.begin(first.request_id)
            desk.time.advance(31)
        second = desk.stop()
        assert second.request_id != first.request_id
        desk.sweep()
        assert desk.outcome(first.request_id) is OutcomeKind.QUARANTINED
        assert [one.request_id for one in desk.sweep().grants] == [second.request_id]

    def test_a_fresh_wish_has_attempts_of_its_own(self, desk: Desk) -> None:
        """All but one of four attempts were used up when it joined."""
        first = desk.stop()
        for _ in range(3):
            desk.begin(first.request_id).fail(retry_in_s=0)
        second = desk.stop()
        assert second.receipt is ReceiptKind.ACCEPTED
        desk.begin(first.request_id).fail(retry_in_s=0)
        assert desk.outcome(first.request_id) is OutcomeKind.EXHAUSTED
        for _ in range(3):
            desk.begin(second.request_id).fail(retry_in_s=0)
        assert desk.outcome(second.request_id) is None
        desk.begin(second.request_id).fail(retry_in_s=0)
        assert desk.outcome(second.request_id) is OutcomeKind.EXHAUSTED

    def test_a_fresh_wish_is_stopped_by_the_attempts_of_the_one_before(self, desk: Desk) -> None:
        """It does not wait for them to be used up: a success that began since is its own, too."""
        first = desk.stop()
        desk.begin(first.request_id).fail(retry_in_s=0)
        second = desk.stop()
        desk.begin(first.request_id).succeed()
        assert desk.outcome(second.request_id) is OutcomeKind.STOPPED

    def test_wishes_that_keep_coming_keep_no_request_from_its_end(self, desk: Desk) -> None:
        """A policy engine that sends a stop each minute, and an API that answers nonsense."""
        first = desk.stop()
        for _ in range(4):
            desk.begin(first.request_id).fail(retry_in_s=0)
            desk.stop()
        assert desk.outcome(first.request_id) is OutcomeKind.EXHAUSTED

    def test_during_an_outage_wishes_join(self, desk: Desk) -> None:
        first = desk.stop()
        desk.begin(first.request_id).fail(retry_in_s=0, by_upstream=True)
        assert desk.stop().request_id == first.request_id

    def test_a_repeated_wish_has_none(self, desk: Desk) -> None:
        first = desk.stop(idempotency_key="k")
        for _ in range(3):
            desk.begin(first.request_id).fail(retry_in_s=0)
        desk.stop(idempotency_key="k")
        desk.begin(first.request_id).fail(retry_in_s=0)
        assert desk.outcome(first.request_id) is OutcomeKind.EXHAUSTED
