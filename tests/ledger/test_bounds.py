"""What the ledger forgets, refuses, and how many may wait for one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.contract import OpenRequest, OutcomeKind, ReceiptKind, State
from stopline.errors import InvalidRequestError
from stopline.ledger import batches, keys

if TYPE_CHECKING:
    from tests.ledger.desk import Desk


class TestWhatIsForgotten:
    """A key or a place is remembered, but its request and outcome are not there any more."""

    def test_a_key_of_a_request_that_nobody_knows_is_accepted_anew(self, desk: Desk) -> None:
        first = desk.stop(idempotency_key="k")
        desk.begin(first.request_id).reject()
        desk.ledger.client.delete(keys.result(first.request_id))
        again = desk.stop(idempotency_key="k")
        assert again.receipt is ReceiptKind.ACCEPTED
        assert desk.stop(idempotency_key="k") == again._replace(receipt=ReceiptKind.DUPLICATE)

    def test_a_place_of_a_request_that_nobody_knows_is_accepted_anew(self, desk: Desk) -> None:
        first = desk.stop(batch_id="b", place=0)
        desk.begin(first.request_id).reject()
        desk.ledger.client.delete(keys.result(first.request_id))
        again = desk.stop(batch_id="b", place=0)
        assert again.receipt is ReceiptKind.ACCEPTED
        desk.begin(again.request_id).succeed()
        assert desk.batch("b").pending == 0


class TestManyBatches:
    def test_of_one_request_so_many_batches_may_be_counted(self, desk: Desk) -> None:
        """Each makes its record longer, and each join would be slower than the one before."""
        first = desk.stop(batch_id="b-0")
        for number in range(1, 1000):
            assert desk.stop(batch_id=f"b-{number}").receipt is ReceiptKind.JOINED
        with pytest.raises(InvalidRequestError, match="too many batches"):
            desk.stop(batch_id="b-1000")
        with pytest.raises(InvalidRequestError, match="too many batches"):
            desk.stop(batch_id="b-1000", request_id=first.request_id)
        assert desk.stop(batch_id="b-7").receipt is ReceiptKind.JOINED
        assert desk.stop().receipt is ReceiptKind.JOINED
        desk.begin(first.request_id).succeed()
        assert desk.batch("b-7").outcomes[OutcomeKind.STOPPED] == 2
        assert desk.batch("b-999").outcomes[OutcomeKind.STOPPED] == 1
        assert desk.run(batches.batch("b-1000")) is None


class TestBounds:
    def test_a_time_limit_beyond_the_memory_of_outcomes_is_refused(self, desk: Desk) -> None:
        with pytest.raises(InvalidRequestError, match="not_after: this is later"):
            desk.stop(lasts_s=8 * 86400)

    def test_a_time_limit_in_the_past_is_refused(self, desk: Desk) -> None:
        with pytest.raises(InvalidRequestError, match="not_after: this time has passed"):
            desk.stop(lasts_s=-1)
        assert desk.due() == set()

    def test_for_a_message_that_waited_it_is_an_outcome(self, desk: Desk) -> None:
        receipt = desk.stop(lasts_s=-1, expire_late=True)
        assert desk.outcome(receipt.request_id) is OutcomeKind.EXPIRED

    def test_an_event_older_than_the_ledgers_memory_is_refused(self, desk: Desk) -> None:
        """Whether its target was resumed since is no longer known."""
        with pytest.raises(InvalidRequestError, match="issued_at"):
            desk.stop(issued_ago_s=8 * 86400)

    def test_the_status_of_an_open_request_tells_its_state(self, desk: Desk) -> None:
        receipt = desk.stop(reason='a "quoted"\nreason')
        status = desk.status(receipt.request_id)
        assert isinstance(status, OpenRequest)
        assert (status.state, status.reason) == (State.QUEUED, 'a "quoted"\nreason')
        desk.begin(receipt.request_id).fail(retry_in_s=2.5)
        status = desk.status(receipt.request_id)
        assert status.state is State.WAITING
        assert status.attempts[0].retry_in_s == 2.5
