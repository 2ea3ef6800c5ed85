"""Senders with plain Celery know only their own Celery id: they get the outcome under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.contract import OpenRequest, OutcomeKind, ReceiptKind, StopRequest
from stopline.errors import IdempotencyConflictError, InvalidRequestError
from stopline.ledger import commands
from stopline.ledger.queries import Alias
from stopline.ledger.values import Submission

if TYPE_CHECKING:
    from tests.ledger.desk import Desk


class TestAliases:
    """Senders with plain Celery know only their own Celery id."""

    def test_a_joined_sender_gets_the_outcome_under_its_own_id(self, desk: Desk) -> None:
        first = desk.stop()
        desk.stop(request_id="celery-id", alias=True)
        assert desk.status("celery-id") == Alias(first.request_id)
        desk.begin(first.request_id).succeed()
        assert desk.document("celery-id") == desk.document(first.request_id)

    def test_a_redelivered_message_joins_once(self, desk: Desk) -> None:
        first = desk.stop()
        desk.stop(request_id="celery-id", alias=True)
        again = desk.stop(request_id="celery-id", alias=True)
        assert again.receipt is ReceiptKind.DUPLICATE
        assert desk.status(first.request_id).joined_count == 1

    def test_a_repeating_sender_gets_the_outcome_that_is_there(self, desk: Desk) -> None:
        first = desk.stop(idempotency_key="k")
        desk.begin(first.request_id).succeed()
        desk.stop(request_id="celery-id", idempotency_key="k", alias=True)
        assert desk.document("celery-id") == desk.document(first.request_id)

    def test_a_repeating_sender_waits_for_an_open_request(self, desk: Desk) -> None:
        first = desk.stop(idempotency_key="k")
        desk.stop(request_id="celery-id", idempotency_key="k", alias=True)
        assert desk.outcome("celery-id") is None
        desk.begin(first.request_id).succeed()
        assert desk.outcome("celery-id") is OutcomeKind.STOPPED

    def test_cancelling_the_alias_cancels_the_request(self, desk: Desk) -> None:
        first = desk.stop()
        desk.stop(request_id="celery-id", alias=True)
        assert desk.cancel("celery-id") == "cancelled"
        assert desk.outcome(first.request_id) is OutcomeKind.CANCELLED

    def test_they_are_capped_and_the_one_too_many_is_told(self, desk: Desk) -> None:
        desk.stop()
        requests = [StopRequest(user_id="u", task_id="t") for _ in range(1000)]
        for first in range(0, 1000, 250):
            batch = [Submission(one, alias=True) for one in requests[first : first + 250]]
            desk.run(commands.accept(desk.limits, batch))
        with pytest.raises(InvalidRequestError, match="too many senders"):
            desk.stop(alias=True)

    def test_an_id_of_another_request_is_a_conflict_and_harms_none(self, desk: Desk) -> None:
        """Its record must not become a pointer to the request that the key leads to."""
        live = desk.stop("a", request_id="r1")
        desk.stop("b", idempotency_key="k")
        with pytest.raises(IdempotencyConflictError):
            desk.stop("b", request_id="r1", idempotency_key="k", alias=True)
        assert isinstance(desk.status(live.request_id), OpenRequest)
        desk.time.advance(10)
        assert len(desk.sweep().grants) == 2
