"""Batches: every wish counts, and sending again doubles nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.contract import OutcomeKind, ReceiptKind
from stopline.errors import IdempotencyConflictError
from stopline.ledger import batches, keys

if TYPE_CHECKING:
    from tests.ledger.desk import Desk


def test_it_counts_joined_wishes_and_is_finished_when_each_has_an_outcome(desk: Desk) -> None:
    first = desk.stop("a", batch_id="b", place=1)
    desk.stop("a", batch_id="b", place=2)
    second = desk.stop("c", batch_id="b", place=3)
    batch = desk.batch("b")
    assert (batch.total, batch.pending, batch.finished_at) == (3, 3, None)
    desk.begin(first.request_id).succeed()
    assert desk.batch("b").pending == 1
    desk.begin(second.request_id).reject()
    batch = desk.batch("b")
    assert (batch.pending, batch.finished_at is not None) == (0, True)
    assert batch.outcomes[OutcomeKind.STOPPED] == 2
    assert batch.outcomes[OutcomeKind.REJECTED] == 1
    assert batch.receipts[ReceiptKind.JOINED] == 1


def test_wishes_of_several_batches_in_one_request_count_in_each(desk: Desk) -> None:
    first = desk.stop(batch_id="x", place=1)
    desk.stop(batch_id="y", place=1)
    desk.begin(first.request_id).succeed()
    assert desk.batch("x").outcomes[OutcomeKind.STOPPED] == 1
    assert desk.batch("y").outcomes[OutcomeKind.STOPPED] == 1


@pytest.mark.parametrize("ended", [False, True])
def test_the_same_place_again_is_a_duplicate_and_counts_nothing(desk: Desk, ended: bool) -> None:
    first = desk.stop(batch_id="b", place=1)
    if ended:
        desk.begin(first.request_id).succeed()
    before = desk.batch("b")
    again = desk.stop(batch_id="b", place=1)
    assert (again.receipt, again.request_id) == (ReceiptKind.DUPLICATE, first.request_id)
    assert desk.batch("b") == before


def test_a_place_that_now_holds_another_target_is_a_conflict(desk: Desk) -> None:
    """An edited file under its old batch id: the new target must not be swallowed."""
    desk.stop("a", batch_id="b", place=1)
    with pytest.raises(IdempotencyConflictError):
        desk.stop("other", batch_id="b", place=1)


def test_a_satisfied_wish_counts_at_once(desk: Desk) -> None:
    first = desk.stop()
    desk.time.advance(10)
    desk.begin(first.request_id).succeed()
    desk.stop(issued_ago_s=5, batch_id="b", place=1)
    batch = desk.batch("b")
    assert (batch.total, batch.pending) == (1, 0)
    assert batch.outcomes[OutcomeKind.STOPPED] == 1


@pytest.mark.parametrize("ended", [False, True])
def test_a_line_whose_key_is_known_counts_the_originals_outcome(desk: Desk, ended: bool) -> None:
    first = desk.stop(idempotency_key="k")
    call = desk.begin(first.request_id)
    if ended:
        call.succeed()
    desk.stop(idempotency_key="k", batch_id="b", place=1)
    if not ended:
        call.succeed()
    batch = desk.batch("b")
    assert (batch.total, batch.pending) == (1, 0)
    assert batch.outcomes[OutcomeKind.STOPPED] == 1


def test_the_same_requests_in_another_batch_count_there_too(desk: Desk) -> None:
    """A `stop_many` that is tried again without a batch id of its own."""
    first = desk.stop(request_id="r1", batch_id="x", place=0)
    desk.stop(request_id="r1", batch_id="y", place=0)
    desk.stop(request_id="r1", batch_id="y", place=0)
    desk.begin(first.request_id).succeed()
    for batch_id in ("x", "y"):
        assert desk.batch(batch_id).total == 1
        assert desk.batch(batch_id).outcomes[OutcomeKind.STOPPED] == 1


def test_all_its_requests_are_known_by_id(desk: Desk) -> None:
    ids = {desk.stop(str(n), batch_id="b", place=n).request_id for n in range(250)}
    ids.add(desk.stop("loose", batch_id="b").request_id)
    chunks = desk.run(batches.chunks("b"))
    assert len(chunks) == 4
    found = [one for chunk in chunks for _, one in desk.run(batches.places(chunk, 0)).found]
    assert set(found) == ids


def test_places_are_kept_as_long_as_their_outcomes_may_be(desk: Desk) -> None:
    """An outcome may come as late as `not_after`, and is kept for `result_ttl_s` from then on."""
    desk.stop("late", batch_id="b", place=0, lasts_s=20 * 3_600)
    desk.stop("soon", batch_id="b", place=1)
    for key in (keys.batch_places("b", "0"), keys.batch_chunks("b")):
        assert desk.ledger.client.ttl(key) > desk.limits.result_ttl_s + 19 * 3_600
