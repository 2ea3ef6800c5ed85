"""The rules of causal dedup, each by its own test (docs/semantics.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.contract import Lane, OutcomeKind, ReceiptKind, StopRequest
from stopline.errors import IdempotencyConflictError, InvalidRequestError
from stopline.ledger.values import Submission

if TYPE_CHECKING:
    from tests.ledger.desk import Desk


class TestIdempotency:
    """Rule 1."""

    def test_a_known_key_is_a_duplicate_with_the_originals_id(self, desk: Desk) -> None:
        first = desk.stop(idempotency_key="k")
        second = desk.stop(idempotency_key="k")
        assert (second.receipt, second.request_id) == (ReceiptKind.DUPLICATE, first.request_id)

    def test_it_stays_a_duplicate_after_the_outcome(self, desk: Desk) -> None:
        first = desk.stop(idempotency_key="k")
        desk.begin(first.request_id).succeed()
        second = desk.stop(idempotency_key="k")
        assert (second.receipt, second.request_id) == (ReceiptKind.DUPLICATE, first.request_id)

    def test_a_key_of_another_target_is_a_conflict_and_changes_nothing(self, desk: Desk) -> None:
        desk.stop("t", idempotency_key="k")
        due = desk.due()
        with pytest.raises(IdempotencyConflictError):
            desk.stop("other", idempotency_key="k")
        assert desk.due() == due

    def test_a_joined_wishs_key_leads_to_the_request_it_joined(self, desk: Desk) -> None:
        first = desk.stop()
        desk.stop(idempotency_key="k")
        assert desk.stop(idempotency_key="k").request_id == first.request_id

    @pytest.mark.parametrize("ended", [False, True])
    def test_the_same_request_id_again_is_a_duplicate(self, desk: Desk, ended: bool) -> None:
        """A client that did not see the reply may send the same request again."""
        first = desk.stop(request_id="r1")
        if ended:
            desk.begin("r1").succeed()
        again = desk.stop(request_id="r1")
        assert (again.receipt, again.request_id) == (ReceiptKind.DUPLICATE, first.request_id)

    @pytest.mark.parametrize("ended", [False, True])
    def test_a_request_id_of_another_target_is_a_conflict(self, desk: Desk, ended: bool) -> None:
        desk.stop("t", request_id="r1")
        if ended:
            desk.begin("r1").succeed()
        with pytest.raises(IdempotencyConflictError):
            desk.stop("other", request_id="r1")


class TestResume:
    """Rule 2, and the resume itself."""

    def test_a_wish_from_before_the_resume_is_superseded_at_once(self, desk: Desk) -> None:
        desk.resume()
        receipt = desk.stop(issued_ago_s=10)
        assert receipt.receipt is ReceiptKind.SUPERSEDED
        assert desk.outcome(receipt.request_id) is OutcomeKind.SUPERSEDED

    def test_a_wish_from_after_the_resume_is_accepted(self, desk: Desk) -> None:
        desk.resume()
        assert desk.stop().receipt is ReceiptKind.ACCEPTED

    def test_a_resume_supersedes_what_is_queued(self, desk: Desk) -> None:
        receipt = desk.stop()
        assert desk.resume().superseded == (receipt.request_id,)
        assert desk.outcome(receipt.request_id) is OutcomeKind.SUPERSEDED
        assert desk.due() == set()

    def test_a_resume_leaves_a_call_in_flight_but_forbids_the_next_one(self, desk: Desk) -> None:
        receipt = desk.stop()
        call = desk.begin(receipt.request_id)
        assert desk.resume().in_flight == receipt.request_id
        call.fail()
        assert desk.outcome(receipt.request_id) is OutcomeKind.SUPERSEDED

    def test_a_call_in_flight_at_the_resume_may_still_succeed(self, desk: Desk) -> None:
        receipt = desk.stop()
        call = desk.begin(receipt.request_id)
        desk.resume()
        call.succeed()
        assert desk.outcome(receipt.request_id) is OutcomeKind.STOPPED

    def test_a_resume_from_before_the_wish_changes_nothing(self, desk: Desk) -> None:
        desk.time.advance(100)
        receipt = desk.stop()
        assert desk.resume(ago_s=50).superseded == ()
        assert desk.outcome(receipt.request_id) is None

    def test_a_resume_to_come_is_refused(self, desk: Desk) -> None:
        """Told again it would count as of now again, and supersede what came in between."""
        receipt = desk.stop()
        with pytest.raises(InvalidRequestError, match="five minutes ahead"):
            desk.resume(ago_s=-301)
        assert desk.outcome(receipt.request_id) is None
        assert desk.resume(ago_s=-299).superseded == (receipt.request_id,), "clocks differ"

    def test_after_the_servers_clock_was_put_back_a_resume_is_none_to_come(
        self, desk: Desk
    ) -> None:
        receipt = desk.stop()
        desk.time.advance(-3600)
        assert desk.stop("other").receipt is ReceiptKind.ACCEPTED
        assert desk.resume(ago_s=-3599).superseded == (receipt.request_id,)
        desk.time.advance(1800)
        again = desk.stop()
        assert desk.resume(ago_s=-3599).superseded == (again.request_id,)

    def test_a_later_wish_that_joined_keeps_the_request_alive(self, desk: Desk) -> None:
        first = desk.stop()
        desk.time.advance(10)
        desk.stop()
        assert desk.resume(ago_s=5).superseded == ()
        assert desk.outcome(first.request_id) is None

    def test_an_older_resume_does_not_move_the_newer_one_back(self, desk: Desk) -> None:
        desk.time.advance(100)
        desk.resume()
        desk.resume(ago_s=50)
        assert desk.stop(issued_ago_s=10).receipt is ReceiptKind.SUPERSEDED

    def test_the_next_request_survives_a_resume_from_before_it(self, desk: Desk) -> None:
        first = desk.stop()
        call = desk.begin(first.request_id)
        desk.time.advance(10)
        second = desk.stop()
        desk.resume(ago_s=5)
        call.fail()
        assert desk.outcome(first.request_id) is OutcomeKind.SUPERSEDED
        assert [one.request_id for one in desk.sweep().grants] == [second.request_id]


class TestSatisfied:
    """Rule 3."""

    def test_a_wish_from_before_a_successful_call_is_stopped_at_once(self, desk: Desk) -> None:
        first = desk.stop()
        desk.time.advance(10)
        desk.begin(first.request_id).succeed()
        late = desk.stop(issued_ago_s=5)
        assert late.receipt is ReceiptKind.SATISFIED
        document = desk.document(late.request_id)
        assert document.outcome is OutcomeKind.STOPPED
        assert document.satisfied_by == first.request_id
        assert document.attempts == ()

    def test_a_wish_from_after_the_call_began_is_a_new_one(self, desk: Desk) -> None:
        """Somebody may have resumed the task in between: it is never swallowed."""
        first = desk.stop()
        desk.begin(first.request_id).succeed()
        assert desk.stop().receipt is ReceiptKind.ACCEPTED

    def test_the_beginning_of_the_call_counts_not_its_end(self, desk: Desk) -> None:
        first = desk.stop()
        call = desk.begin(first.request_id)
        desk.time.advance(10)
        call.succeed()
        assert desk.stop(issued_ago_s=5).receipt is ReceiptKind.ACCEPTED

    def test_only_success_satisfies(self, desk: Desk) -> None:
        first = desk.stop()
        desk.time.advance(10)
        desk.begin(first.request_id).reject()
        assert desk.stop(issued_ago_s=5).receipt is ReceiptKind.ACCEPTED

    def test_issued_at_is_never_later_than_now(self, desk: Desk) -> None:
        first = desk.stop(issued_ago_s=-1000)
        desk.begin(first.request_id).succeed()
        assert desk.document(first.request_id).issued_at is None  # that is: when it was accepted


class TestJoin:
    """Rule 4."""

    def test_a_wish_joins_the_request_that_waits(self, desk: Desk) -> None:
        first = desk.stop(source="a")
        second = desk.stop(source="b", reason="because")
        assert (second.receipt, second.request_id) == (ReceiptKind.JOINED, first.request_id)
        (joined,) = desk.status(first.request_id).joined
        assert (joined.source, joined.reason) == ("b", "because")

    def test_a_wish_joins_between_attempts(self, desk: Desk) -> None:
        first = desk.stop()
        desk.begin(first.request_id).fail(by_upstream=True, retry_in_s=10)
        assert desk.stop().request_id == first.request_id

    def test_the_later_deadline_holds(self, desk: Desk) -> None:
        first = desk.stop(lasts_s=10)
        desk.stop(lasts_s=100)
        desk.time.advance(50)
        desk.begin(first.request_id)

    def test_the_more_urgent_lane_holds_and_is_dispatched_again(self, desk: Desk) -> None:
        first = desk.stop(lane=Lane.BULK)
        request = StopRequest(user_id="u", task_id="t", lane=Lane.EMERGENCY)
        assert desk.dispatched(Submission(request))
        assert desk.status(first.request_id).lane is Lane.EMERGENCY
        desk.time.advance(10)
        assert desk.sweep(Lane.BULK).grants == ()
        assert len(desk.sweep(Lane.EMERGENCY).grants) == 1

    def test_a_less_urgent_wish_changes_no_lane_and_sends_no_message(self, desk: Desk) -> None:
        first = desk.stop(lane=Lane.EMERGENCY)
        request = StopRequest(user_id="u", task_id="t", lane=Lane.BULK)
        assert not desk.dispatched(Submission(request))
        assert desk.status(first.request_id).lane is Lane.EMERGENCY

    def test_who_joined_is_kept_up_to_a_cap(self, desk: Desk) -> None:
        first = desk.stop()
        for _ in range(25):
            desk.stop()
        status = desk.status(first.request_id)
        assert (status.joined_count, len(status.joined)) == (25, 20)

    def test_a_wish_from_before_the_call_in_flight_joins_it(self, desk: Desk) -> None:
        """The call began after that wish was issued, so its success is this wish's too."""
        first = desk.stop()
        desk.time.advance(10)
        call = desk.begin(first.request_id)
        late = desk.stop(issued_ago_s=5)
        assert (late.receipt, late.request_id) == (ReceiptKind.JOINED, first.request_id)
        call.succeed()
        assert desk.outcome(first.request_id) is OutcomeKind.STOPPED

    def test_other_targets_do_not_join(self, desk: Desk) -> None:
        receipts = {
            desk.stop("a").request_id,
            desk.stop("b").request_id,
            desk.stop("a", sub_user_id="s").request_id,
        }
        assert len(receipts) == 3


class TestNext:
    """Rule 5."""

    def test_a_wish_during_a_call_is_the_next_request(self, desk: Desk) -> None:
        first = desk.stop()
        desk.begin(first.request_id)
        second = desk.stop()
        assert second.receipt is ReceiptKind.ACCEPTED
        assert second.request_id != first.request_id

    def test_further_wishes_join_the_next_request(self, desk: Desk) -> None:
        first = desk.stop()
        desk.begin(first.request_id)
        second = desk.stop()
        third = desk.stop()
        assert (third.receipt, third.request_id) == (ReceiptKind.JOINED, second.request_id)

    def test_the_next_request_is_not_called_for_while_a_call_is_in_flight(self, desk: Desk) -> None:
        first = desk.stop()
        call = desk.begin(first.request_id)
        second = desk.stop()
        assert desk.claim(second.request_id).grants == ()
        desk.time.advance(29)
        assert call.renew()
        desk.time.advance(29)
        assert desk.sweep().grants == ()

    def test_the_call_in_flight_does_not_satisfy_it(self, desk: Desk) -> None:
        first = desk.stop()
        call = desk.begin(first.request_id)
        second = desk.stop()
        call.succeed()
        assert desk.outcome(first.request_id) is OutcomeKind.STOPPED
        assert desk.outcome(second.request_id) is None
        assert [one.request_id for one in desk.sweep().grants] == [second.request_id]

    def test_a_later_call_of_the_active_request_satisfies_it(self, desk: Desk) -> None:
        first = desk.stop()
        call = desk.begin(first.request_id)
        second = desk.stop()
        call.fail(retry_in_s=1)
        desk.time.advance(1)
        desk.begin(first.request_id).succeed()
        document = desk.document(second.request_id)
        assert document.outcome is OutcomeKind.STOPPED
        assert document.satisfied_by == first.request_id
        assert desk.due() == set()

    @pytest.mark.parametrize("end", ["reject", "cancel"])
    def test_any_other_end_makes_it_the_active_request(self, desk: Desk, end: str) -> None:
        first = desk.stop()
        call = desk.begin(first.request_id)
        second = desk.stop()
        if end == "reject":
            call.reject()
        else:
            desk.cancel(first.request_id)
            call.fail()
        assert [one.request_id for one in desk.sweep().grants] == [second.request_id]

    def test_a_wish_joins_a_request_whose_lease_has_ended(self, desk: Desk) -> None:
        """Its call is void: the next one begins after this wish."""
        first = desk.stop()
        call = desk.begin(first.request_id)
        desk.time.advance(31)
        assert desk.stop().request_id == first.request_id
        assert call.succeed() == "lost"
        assert desk.outcome(first.request_id) is None
