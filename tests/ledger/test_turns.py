"""Batches take turns: what waits is in the ledger, and a piece of each goes after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stopline.contract import Lane, OutcomeKind, Rate, StopRequest
from stopline.ledger import batches, commands, keys
from stopline.ledger.limits import GateLimits, Limits
from stopline.ledger.values import Submission
from tests.ledger.desk import Call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline.ledger.values import Claimed
    from tests.ledger.desk import Desk

QUEUE = Lane.BULK.queue


def _send(desk: Desk, batch_id: str, places: Iterable[int], **fields: str) -> None:
    lane = fields.pop("lane", "bulk")
    submissions = [
        Submission(
            StopRequest.parse(
                {"user_id": "u", "task_id": f"{batch_id}-{place}", "lane": lane, **fields}
            ),
            place,
            batch_id,
        )
        for place in places
    ]
    desk.run(commands.accept(Limits(queues_here=True), submissions))


def _batches_of(claimed: Claimed) -> list[str]:
    return [grant.target.task_id.split("-")[0] for grant in claimed.grants]


def _pause(desk: Desk, batch_id: str) -> None:
    desk.run(commands.pause_batch(desk.limits, batch_id, "ops", "wrong list", None))


def _resume(desk: Desk, batch_id: str) -> list[str]:
    steered = desk.run(commands.resume_batch(desk.limits, batch_id, None))
    return [one.request_id for one in steered.told]


def test_a_batch_puts_one_message_a_call_on_the_queue_and_none_where_workers_know(
    desk: Desk,
) -> None:
    for first in range(0, 10_000, 250):
        _send(desk, "b", range(first, first + 250))
    assert desk.ledger.client.llen(QUEUE) == 16
    assert desk.ledger.client.llen(keys.BACKLOG + "bulk:b:b") == 40


def test_a_sweep_takes_what_waits_in_its_order_and_each_once(desk: Desk) -> None:
    _send(desk, "b", range(1, 301))
    tasks = []
    while claimed := desk.sweep(limit=70).grants:
        tasks += [grant.target.task_id for grant in claimed]
    assert tasks == [f"b-{place}" for place in range(1, 301)]
    assert not desk.ledger.client.keys(keys.BACKLOG + "*")
    assert not desk.ledger.client.keys(keys.TURNS + "*")


def test_two_batches_take_turns_piece_by_piece(desk: Desk) -> None:
    _send(desk, "large", range(1000))
    desk.sweep(limit=100)
    _send(desk, "small", range(100))
    found = _batches_of(desk.sweep(limit=250))
    assert found.count("small") == 100


def test_a_sweep_leaves_half_of_its_room_to_what_is_due_where_both_wait(desk: Desk) -> None:
    for n in range(10):
        desk.stop(f"single-{n}", lane=Lane.BULK)
    desk.time.advance(60)
    _send(desk, "b", range(100))
    found = _batches_of(desk.sweep(limit=10))
    assert found == ["single"] * 5 + ["b"] * 5


def test_claiming_what_a_message_named_tells_that_the_rest_of_its_batch_waits(desk: Desk) -> None:
    first = desk.stop("a", batch_id="b", place=1)
    claimed = desk.claim(first.request_id)
    assert claimed.next_due == claimed.now
    single = desk.stop("other")
    assert desk.claim(single.request_id).next_due is None


def test_places_that_are_not_in_a_row_and_those_that_have_none_wait_too(desk: Desk) -> None:
    for place in (7, 3, None, 150, 4):
        desk.stop(f"t{place}", batch_id="b", place=place)
    found = {grant.target.task_id for grant in desk.sweep().grants}
    assert found == {"t7", "t3", "tNone", "t150", "t4"}


def test_what_ended_meanwhile_takes_no_room(desk: Desk) -> None:
    receipts = [desk.stop(f"t{place}", batch_id="b", place=place) for place in range(20)]
    for receipt in receipts[:15]:
        desk.cancel(receipt.request_id)
    assert len(desk.sweep(limit=5).grants) == 5


def test_who_joins_alone_does_not_wait_for_the_turn_of_a_batch(desk: Desk) -> None:
    desk.stop("t", batch_id="b", place=1)
    request = StopRequest.parse({"user_id": "u", "task_id": "t", "lane": "default"})
    assert desk.dispatched(Submission(request))


def test_a_target_that_two_batches_want_waits_in_both(desk: Desk) -> None:
    first = desk.stop("t", batch_id="x", place=1)
    desk.stop("t", batch_id="y", place=1)
    _pause(desk, "x")
    assert [one.request_id for one in desk.sweep().grants] == [first.request_id]


def test_a_long_queue_takes_no_more_single_requests_either(desk: Desk) -> None:
    limits = Limits(queues_here=True)
    for n in range(520):
        request = StopRequest.parse({"user_id": f"u{n % 2}", "task_id": f"s-{n}", "lane": "bulk"})
        desk.run(commands.accept(limits, [Submission(request)]))
    client = desk.ledger.client
    assert client.llen(QUEUE) == 500
    assert client.llen(keys.BACKLOG + "bulk:u:u0") == client.llen(keys.BACKLOG + "bulk:u:u1") == 10
    assert len(desk.sweep(limit=100).grants) == 20


class TestPause:
    """A paused batch waits in the ledger, and expires as its requests do."""

    def test_nothing_of_it_is_claimed_until_it_goes_on(self, desk: Desk) -> None:
        _send(desk, "b", range(100))
        _pause(desk, "b")
        assert not desk.sweep().grants
        (told,) = _resume(desk, "b")
        assert desk.claim(told).grants
        assert len(desk.sweep(limit=200).grants) == 99

    def test_batch_says_who_paused_it_and_why(self, desk: Desk) -> None:
        _send(desk, "b", [1])
        _pause(desk, "b")
        paused = desk.batch("b").paused
        assert paused is not None
        assert (paused.by, paused.reason) == ("ops", "wrong list")
        _resume(desk, "b")
        assert desk.batch("b").paused is None

    def test_what_is_sent_while_it_is_paused_waits_too(self, desk: Desk) -> None:
        _send(desk, "b", [1])
        _pause(desk, "b")
        desk.sweep()
        _send(desk, "b", range(2, 10))
        assert not desk.sweep().grants
        _resume(desk, "b")
        assert len(desk.sweep().grants) == 9

    def test_a_retry_whose_time_comes_waits_and_goes_on_afterwards(self, desk: Desk) -> None:
        first = desk.stop("t", batch_id="b", place=1)
        desk.begin(first.request_id).fail(retry_in_s=1)
        _pause(desk, "b")
        desk.time.advance(10)
        assert not desk.sweep().grants
        _resume(desk, "b")
        assert [one.attempt for one in desk.sweep().grants] == [2]

    def test_a_message_that_names_one_of_it_claims_nothing(self, desk: Desk) -> None:
        first = desk.stop("t", batch_id="b", place=1)
        _pause(desk, "b")
        assert not desk.claim(first.request_id).grants

    def test_its_requests_expire_in_time(self, desk: Desk) -> None:
        first = desk.stop("t", batch_id="b", place=1, lasts_s=60)
        _pause(desk, "b")
        desk.sweep()
        desk.time.advance(61)
        desk.sweep()
        assert desk.outcome(first.request_id) is OutcomeKind.EXPIRED

    def test_a_stop_of_the_same_target_that_somebody_else_asks_for_goes_on(
        self, desk: Desk
    ) -> None:
        first = desk.stop("t", batch_id="b", place=1)
        _pause(desk, "b")
        desk.sweep()
        desk.stop("t")
        assert desk.claim(first.request_id).grants

    def test_cancelling_ends_what_waits(self, desk: Desk) -> None:
        first = desk.stop("t", batch_id="b", place=1)
        _pause(desk, "b")
        desk.cancel(first.request_id)
        assert desk.outcome(first.request_id) is OutcomeKind.CANCELLED
        _resume(desk, "b")
        assert not desk.sweep().grants

    def test_nobody_waits_for_a_batch_that_is_not_there(self, desk: Desk) -> None:
        steered = desk.run(commands.pause_batch(desk.limits, "none", "ops", "why", None))
        assert steered.was_paused is None
        assert desk.run(batches.batch("none")) is None

    def test_one_that_was_never_paused_may_be_told_to_go_on(self, desk: Desk) -> None:
        _send(desk, "b", range(5))
        _resume(desk, "b")
        assert len(desk.sweep().grants) == 5
        assert not desk.sweep().grants


@pytest.mark.parametrize("lane", list(Lane))
def test_each_lane_has_its_own_turns(desk: Desk, lane: Lane) -> None:
    _send(desk, "b", range(3), lane=lane.value)
    others = [one for one in Lane if one is not lane]
    assert not desk.sweep(*others).grants
    assert len(desk.sweep(lane).grants) == 3


@pytest.mark.parametrize(
    "gate", [GateLimits(rate=Rate(10, 10)), GateLimits(concurrent=5)], ids=["rate", "concurrent"]
)
def test_what_is_overdue_starves_no_other_batch_behind_a_narrow_gate(
    desk: Desk, gate: GateLimits
) -> None:
    desk.limits = replace(desk.limits, gate=gate)
    _send(desk, "large", range(500))
    desk.time.advance(120)
    _send(desk, "small", range(20))
    found: list[str] = []
    for _ in range(60):
        for grant in desk.sweep(limit=200).grants:
            found.append(grant.target.task_id.split("-")[0])
            Call(desk, grant).succeed()
        desk.time.advance(1)
    assert found.count("small") == 20


def test_a_batch_has_one_place_among_the_turns_however_it_grows(desk: Desk) -> None:
    _send(desk, "b", range(50))
    for n in range(30):
        _send(desk, "a", [n])
        desk.sweep(limit=1)
    turns = [one.decode() for one in desk.ledger.client.lrange(keys.TURNS + "bulk", 0, -1)]
    assert sorted(turns) in (["b:a", "b:b"], ["b:b"])


def test_what_two_paused_batches_want_goes_on_with_either(desk: Desk) -> None:
    for goes_on in ("x", "y"):
        place = 1 if goes_on == "x" else 2
        first = desk.stop(goes_on, batch_id="x", place=place)
        desk.stop(goes_on, batch_id="y", place=place)
        desk.begin(first.request_id).fail(retry_in_s=1)
        for batch_id in ("x", "y"):
            _pause(desk, batch_id)
        desk.time.advance(5)
        assert not desk.sweep().grants
        assert _resume(desk, goes_on)
        assert [one.request_id for one in desk.sweep().grants] == [first.request_id]
        _resume(desk, "x")
        _resume(desk, "y")
        desk.cancel(first.request_id)


@pytest.mark.parametrize("batch_id", [None, "y"])
def test_the_same_wish_again_from_outside_a_paused_batch_goes_on(
    desk: Desk, batch_id: str | None
) -> None:
    first = desk.stop("t", batch_id="x", place=1, idempotency_key="k")
    _pause(desk, "x")
    desk.claim(first.request_id)
    fields = {"batch_id": batch_id} if batch_id else {}
    again = desk.stop("t", idempotency_key="k", place=7 if batch_id else None, **fields)
    assert again.request_id == first.request_id
    assert [one.request_id for one in desk.sweep().grants] == [first.request_id] or desk.claim(
        first.request_id
    ).grants


def test_a_new_batch_of_an_old_name_is_not_paused(desk: Desk) -> None:
    _send(desk, "b", [1])
    _pause(desk, "b")
    desk.ledger.client.delete(keys.batch("b"))
    _send(desk, "b", [2])
    assert desk.batch("b").paused is None
    assert desk.sweep().grants


def test_turns_are_kept_as_long_as_what_waits_for_them(desk: Desk) -> None:
    _send(desk, "b", [1])
    client = desk.ledger.client
    client.expire(keys.TURNS + "bulk", 100)
    _send(desk, "b", [2])
    line = client.ttl(keys.BACKLOG + "bulk:b:b")
    assert client.ttl(keys.TURNS + "bulk") >= line > 100


def test_places_that_are_kept_no_more_take_no_time(desk: Desk) -> None:
    client = desk.ledger.client
    client.rpush(keys.BACKLOG + "bulk:b:gone", "0-100000000")
    client.rpush(keys.TURNS + "bulk", "b:gone")
    _send(desk, "b", range(10))
    found: list[str] = []
    for _ in range(3):
        found += _batches_of(desk.sweep(limit=100))
    assert found == ["b"] * 10
    (left,) = client.lrange(keys.BACKLOG + "bulk:b:gone", 0, -1)
    assert int(left.split(b"-")[0]) <= 3 * 1_100 * 100  # so many looks a sweep, of a chunk each
