"""The ledger's time goes on, whatever NTP, a restored machine or a failover do to the server's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline.contract import OutcomeKind, ReceiptKind
from stopline.ledger import commands, keys
from tests.ledger.desk import LIMITS, Desk
from tests.support.virtual_time import VirtualTime

if TYPE_CHECKING:
    from stopline.ledger.values import Clock

HOUR_S = 3600.0


def _clock(desk: Desk) -> Clock:
    return desk.run(commands.read_clock(LIMITS))


@pytest.mark.parametrize("back_s", [0.002, 1, HOUR_S, 30 * 86400])
class TestAfterAStepBack:
    def test_a_new_wish_is_not_satisfied_by_an_old_call(self, desk: Desk, back_s: float) -> None:
        desk.begin(desk.stop().request_id).succeed()
        desk.time.advance(-back_s)
        assert desk.stop().receipt is ReceiptKind.ACCEPTED

    def test_a_new_wish_is_not_superseded_by_an_old_resume(self, desk: Desk, back_s: float) -> None:
        desk.stop()
        desk.resume()
        desk.time.advance(-back_s)
        assert desk.stop().receipt is ReceiptKind.ACCEPTED

    def test_a_wish_during_a_call_does_not_join_it(self, desk: Desk, back_s: float) -> None:
        first = desk.stop()
        call = desk.begin(first.request_id)
        desk.time.advance(-back_s)
        second = desk.stop()
        call.succeed()
        assert second.request_id != first.request_id
        assert desk.outcome(second.request_id) is None

    def test_leases_and_retries_still_end(self, desk: Desk, back_s: float) -> None:
        desk.begin(desk.stop("lost").request_id)
        desk.begin(desk.stop("failed").request_id).fail(retry_in_s=10)
        desk.time.advance(-back_s)
        assert desk.sweep().grants == ()
        desk.time.advance(2 * 30 + 1)
        assert {str(one.target) for one in desk.sweep().grants} == {"u/lost", "u/failed"}

    def test_an_event_is_as_old_as_its_sender_says(self, desk: Desk, back_s: float) -> None:
        """A call began after the step, the event was before that call, or after it."""
        desk.stop()
        desk.time.advance(-back_s)
        desk.time.advance(100)
        receipt = desk.stop("y")
        desk.time.advance(10)
        desk.begin(receipt.request_id).succeed()
        desk.time.advance(10)
        assert desk.stop("y", issued_ago_s=15).receipt is ReceiptKind.SATISFIED
        assert desk.stop("y", issued_ago_s=5).receipt is ReceiptKind.ACCEPTED

    def test_an_event_that_is_heard_of_after_the_clocks_met_again(
        self, desk: Desk, back_s: float
    ) -> None:
        """What was recorded before they met is ahead of the time that its sender knows."""
        back_s = min(back_s, HOUR_S)  # what is older than the ledger remembers is refused
        _clock(desk)
        desk.time.advance(-back_s)
        _clock(desk)
        desk.time.advance(back_s / 10)
        desk.begin(desk.stop("called").request_id).succeed()
        desk.stop("resumed")
        desk.resume("resumed")
        desk.time.advance(back_s / 10)
        issued_at_us = desk.time.now_us
        desk.time.advance(3 * back_s + 1)
        _clock(desk)
        desk.time.advance(1)
        ago_s = (desk.time.now_us - issued_at_us) / 1_000_000
        assert desk.stop("called", issued_ago_s=ago_s).receipt is ReceiptKind.ACCEPTED
        assert desk.stop("resumed", issued_ago_s=ago_s).receipt is ReceiptKind.ACCEPTED

    def test_the_clock_comes_back_to_the_servers(self, desk: Desk, back_s: float) -> None:
        _clock(desk)
        desk.time.advance(-back_s)
        told = _clock(desk)
        assert told.now - told.server_now == pytest.approx(back_s * 1_000_000, abs=10)
        desk.time.advance(2 * back_s + 1)
        told = _clock(desk)
        assert told.now == told.server_now


def test_a_step_forward_ends_leases_early_and_expires_what_is_late(desk: Desk) -> None:
    first, second = desk.stop("t", lasts_s=60), desk.stop("u")
    desk.begin(second.request_id)
    desk.time.advance(HOUR_S / 2)
    (grant,) = desk.sweep().grants
    assert grant.request_id == second.request_id
    assert desk.outcome(first.request_id) is OutcomeKind.EXPIRED


def test_a_time_limit_passes_no_later_than_its_sender_says(desk: Desk) -> None:
    _clock(desk)
    desk.time.advance(-HOUR_S)
    receipt = desk.stop(lasts_s=20)
    desk.time.advance(19)
    call = desk.begin(receipt.request_id)
    call.fail(retry_in_s=0)
    desk.time.advance(1)
    desk.sweep()
    assert desk.outcome(receipt.request_id) is OutcomeKind.EXPIRED


@given(steps=st.lists(st.sampled_from([-86400.0, -3600.0, -0.001, 0.0, 0.001, 60.0, 3600.0])))
def test_no_time_is_given_twice(steps: list[float]) -> None:
    desk = Desk(VirtualTime(fakeredis.FakeRedis(), flags=False))
    given = [_clock(desk).now]
    for step in steps:
        desk.time.advance(step)
        given.append(_clock(desk).now)
    assert given == sorted(set(given))


def test_the_clock_is_kept_as_long_as_anything_that_it_timed(desk: Desk) -> None:
    desk.stop()
    assert desk.ledger.client.ttl(keys.CLOCK) == max(LIMITS.result_ttl_s, LIMITS.dead_letter_ttl_s)
