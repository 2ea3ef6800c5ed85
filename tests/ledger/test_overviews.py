"""What there is to see: counters that are right, pages that are bounded, what ended last."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import fakeredis
import pytest

from stopline.contract import (
    Beat,
    Histogram,
    Lane,
    LaneView,
    OpenPlace,
    OutcomeKind,
    ProcessRole,
    ReceiptKind,
    RefusalKind,
    RequestFilter,
    State,
    StatusClass,
    Target,
    Verdict,
    from_microseconds,
)
from stopline.errors import InvalidRequestError
from stopline.ledger import commands, keys, overviews
from stopline.ledger.values import Ended
from tests.ledger.desk import LIMITS, STOPPED, Desk

if TYPE_CHECKING:
    from stopline.contract import Counts, OpenRequest
    from stopline.ledger.values import Grant


@pytest.fixture(autouse=True)
def _counted(desk: Desk) -> None:
    desk.limits = replace(LIMITS, counts=True, recent_max=3)


def _counts(desk: Desk) -> Counts:
    found: Counts = desk.run(overviews.overview(desk.limits)).counts
    return found


def _open(desk: Desk) -> dict[tuple[Lane, State], int]:
    return {place: count for place, count in _counts(desk).open.items() if count}


class TestCounts:
    def test_a_request_is_counted_where_it_stands(self, desk: Desk) -> None:
        receipt = desk.stop()
        assert _open(desk) == {(Lane.DEFAULT, State.QUEUED): 1}
        desk.stop(lane=Lane.EMERGENCY)  # joins, and takes it to its lane
        assert _open(desk) == {(Lane.EMERGENCY, State.QUEUED): 1}
        call = desk.begin(receipt.request_id)
        assert _open(desk) == {(Lane.EMERGENCY, State.CALLING): 1}
        call.fail()
        assert _open(desk) == {(Lane.EMERGENCY, State.WAITING): 1}
        desk.time.advance(60)
        desk.begin(receipt.request_id).succeed()
        assert _open(desk) == {}
        counts = _counts(desk)
        assert counts.receipts[ReceiptKind.ACCEPTED] == counts.receipts[ReceiptKind.JOINED] == 1
        assert counts.outcomes[Lane.EMERGENCY, OutcomeKind.STOPPED] == 1
        assert counts.attempts == {
            StatusClass(Verdict.RETRY, "5xx"): 1,
            StatusClass(Verdict.STOPPED, "2xx"): 1,
        }
        assert (counts.calls.total, counts.calls.counts[0]) == (2, 2), "a millisecond each"
        assert counts.calls.sum_s == pytest.approx(0.002)
        assert counts.stops[Lane.EMERGENCY].total == 1
        assert counts.stops[Lane.EMERGENCY].sum_s == pytest.approx(60, abs=0.1)

    def test_a_worker_that_was_lost_is_an_attempt(self, desk: Desk) -> None:
        receipt = desk.stop()
        desk.begin(receipt.request_id)
        desk.time.advance(31)
        desk.begin(receipt.request_id)
        assert _counts(desk).attempts == {StatusClass(Verdict.RETRY, "lost"): 1}

    def test_what_was_refused_is_counted_by_its_reason(self, desk: Desk) -> None:
        with pytest.raises(InvalidRequestError):
            desk.stop(lasts_s=-1)
        assert _counts(desk).refusals[RefusalKind.NOT_AFTER_PASSED] == 1

    def test_a_call_is_counted_once_however_often_it_is_settled(self, desk: Desk) -> None:
        """A reply that was lost is asked for again, together with what came meanwhile."""
        ids = [desk.stop(name).request_id for name in "ab"]
        grants = desk.claim(*ids).grants
        _settle_all(desk, grants[:1])
        _settle_all(desk, grants[::-1])
        counts = _counts(desk)
        assert counts.attempts == {StatusClass(Verdict.STOPPED, "2xx"): 2}
        assert counts.calls.total == 2

    def test_what_was_open_before_anything_was_counted_is_not_counted_when_it_ends(
        self, desk: Desk
    ) -> None:
        """An upgrade: else the counters would be negative for good."""
        desk.limits = LIMITS
        before = [desk.stop(name).request_id for name in "abc"]
        desk.limits = replace(LIMITS, counts=True)
        after = desk.stop("d").request_id
        assert _open(desk) == {(Lane.DEFAULT, State.QUEUED): 1}
        assert desk.run(overviews.recount()).wrong == ()
        for one in before:
            desk.begin(one).succeed()
        assert _open(desk) == {(Lane.DEFAULT, State.QUEUED): 1}
        desk.begin(after).succeed()
        assert _open(desk) == {}
        assert _counts(desk).outcomes[Lane.DEFAULT, OutcomeKind.STOPPED] == 4

    def test_without_the_setting_nothing_is_counted(self, desk: Desk) -> None:
        desk.limits = LIMITS
        desk.begin(desk.stop().request_id).succeed()
        for name in (keys.COUNTS, keys.AGES, keys.RECENT):
            assert not desk.ledger.client.exists(name)

    def test_a_settle_of_many_costs_a_handful_of_commands(self, desk: Desk) -> None:
        ids = [desk.stop(str(number)).request_id for number in range(50)]
        grants = desk.claim(*ids).grants
        before = _commands(desk)
        _settle_all(desk, grants)
        counted = _commands(desk) - before
        desk.limits = LIMITS
        ids = [desk.stop(f"x{number}").request_id for number in range(50)]
        grants = desk.claim(*ids).grants
        before = _commands(desk)
        _settle_all(desk, grants)
        assert counted - (_commands(desk) - before) < 15


def _settle_all(desk: Desk, grants: tuple[Grant, ...]) -> None:
    detail = "The API confirmed the stop."
    settlements = [
        Ended(one.request_id, one.token, STOPPED, OutcomeKind.STOPPED, detail) for one in grants
    ]
    desk.run(commands.settle(desk.limits, settlements))


def _commands(desk: Desk) -> int:
    if isinstance(desk.ledger.client, fakeredis.FakeRedis):
        pytest.skip("fakeredis does not count commands")
    stats = desk.ledger.client.info("commandstats")
    return sum(int(one["calls"]) for one in stats.values())


class TestTheOldest:
    def test_it_is_known_to_a_second_whatever_ended_before(self, desk: Desk) -> None:
        first = desk.stop("a")
        desk.time.advance(10)
        desk.stop("b")
        began = desk.time.now_us
        assert _age_s(desk) == pytest.approx(10, abs=1.01)
        desk.begin(first.request_id).succeed()
        assert _age_s(desk) == pytest.approx((desk.time.now_us - began) / 1e6, abs=1.01)

    def test_nothing_is_open(self, desk: Desk) -> None:
        desk.begin(desk.stop().request_id).succeed()
        overview = desk.run(overviews.overview(desk.limits))
        assert overview.lanes[Lane.DEFAULT] == LaneView(0, None, None)
        assert not desk.ledger.client.exists(keys.AGES)


def _age_s(desk: Desk) -> float:
    overview = desk.run(overviews.overview(desk.limits))
    oldest = overview.lanes[Lane.DEFAULT].oldest_at
    assert oldest is not None
    age: float = (overview.at - oldest).total_seconds()
    return age


def _all(desk: Desk, lane: Lane = Lane.DEFAULT, limit: int = 100, **wanted: object) -> list[str]:
    place: OpenPlace | None = OpenPlace(lane)
    found: list[OpenRequest] = []
    while place is not None:
        page = desk.run(overviews.open_page(RequestFilter.model_validate(wanted), place, limit))
        found += page.requests
        place = page.place
    return [one.task_id for one in found]


class TestPages:
    def test_every_open_request_is_met_once(self, desk: Desk) -> None:
        names = [str(number) for number in range(20)]
        for name in names:
            desk.stop(name)
        for limit in (1, 7, 20, 100):
            assert sorted(_all(desk, limit=limit), key=int) == names

    def test_a_call_looks_at_so_many_and_no_more(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(overviews, "LOOK_MAX", 4)
        for number in range(10):
            desk.stop(str(number), source="a" if number % 5 else "b")
        wanted = RequestFilter(source="b")
        page = desk.run(overviews.open_page(wanted, OpenPlace(Lane.DEFAULT), 100))
        assert (page.looked_at, len(page.requests)) == (4, 1)
        assert _all(desk, source="b") == ["0", "5"]

    def test_each_field_filters(self, desk: Desk) -> None:
        desk.stop("a", source="crm", batch_id="b1")
        desk.stop("b", source="crm2", batch_id="b11")
        desk.stop("b", source="x", batch_id="b1")  # joins
        desk.begin(desk.stop("c", reason='"source":"crm","b1="').request_id)
        assert _all(desk, source="crm") == ["a"]
        assert _all(desk, source="x") == ["b"], "who joined it counts"
        assert sorted(_all(desk, batch_id="b1")) == ["a", "b"]
        assert _all(desk, batch_id="b11") == ["b"]
        assert _all(desk, state="calling") == ["c"]
        assert _all(desk, user_id="u", task_id="c") == ["c"]
        assert sorted(_all(desk, user_id="u")) == ["a", "b", "c"]
        assert _all(desk, user_id="nobody") == _all(desk, lane=Lane.BULK) == []
        assert _all(desk, task_id="b") == ["b"]

    def test_a_request_that_went_away_meanwhile_moves_no_others(self, desk: Desk) -> None:
        receipts = [desk.stop(str(number)) for number in range(4)]
        place = OpenPlace(Lane.DEFAULT)
        page = desk.run(overviews.open_page(RequestFilter(), place, 2))
        desk.cancel(receipts[0].request_id)
        desk.cancel(receipts[1].request_id)
        page = desk.run(overviews.open_page(RequestFilter(), page.place, 2))
        assert [one.task_id for one in page.requests] == ["2", "3"]

    def test_those_that_are_due_at_one_moment_are_all_met_though_they_go(self, desk: Desk) -> None:
        """The leases of one claim end together; who cancels page by page must find them all."""
        ids = [desk.stop(str(number)).request_id for number in range(10)]
        desk.claim(*ids)
        desk.time.advance(31)
        place: OpenPlace | None = OpenPlace(Lane.DEFAULT)
        while place is not None:
            page = desk.run(overviews.open_page(RequestFilter(user_id="u"), place, 3))
            for one in page.requests:
                desk.cancel(one.request_id)
            place = page.place
        assert desk.due() == set()


class TestWhatEnded:
    def test_the_last_are_listed_the_newest_first(self, desk: Desk) -> None:
        ids = [desk.stop(name).request_id for name in "abcd"]
        for one in ids:
            desk.begin(one).succeed()
        assert desk.run(overviews.recent_ids(0, 10)) == (*reversed(ids[1:]),)
        found = desk.run(overviews.outcomes(ids[:2]))
        assert [one.task_id for one in found] == ["a", "b"]

    def test_what_is_known_of_a_target(self, desk: Desk) -> None:
        target = Target("u", "t")
        assert desk.run(overviews.target(target)) is None
        first = desk.stop()
        desk.begin(first.request_id).succeed()
        second = desk.stop()
        desk.resume(ago_s=1)
        view = desk.run(overviews.target(target))
        assert (view.active, view.following) == (second.request_id, None)
        assert view.succeeded_by == first.request_id
        assert view.resumed_at < view.succeeded_at


class TestRecount:
    def test_right_counters_are_right(self, desk: Desk) -> None:
        desk.stop("a")
        desk.begin(desk.stop("b").request_id)
        found = desk.run(overviews.recount())
        assert (found.open, found.wrong) == (2, ())

    def test_wrong_ones_are_named_and_put_right(self, desk: Desk) -> None:
        desk.stop("a")
        desk.limits = LIMITS  # somebody who does not count
        desk.stop("b")
        desk.limits = replace(LIMITS, counts=True)
        desk.time.advance(5)
        found = desk.run(overviews.recount())
        assert ("open:default:queued", 1, 2) in found.wrong
        desk.run(overviews.recount(repair=True))
        assert desk.run(overviews.recount()).wrong == ()
        assert _open(desk) == {(Lane.DEFAULT, State.QUEUED): 2}

    def test_too_many_are_left_alone(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(overviews, "RECOUNT_MAX", 1)
        desk.stop("a")
        desk.stop("b")
        assert desk.run(overviews.recount()) == (2, None)


def test_the_counters_are_kept_each_minute(desk: Desk) -> None:
    desk.stop()
    said = Beat(process_id="p", role=ProcessRole.BRIDGE, host="h", pid=1, lanes=())
    since = from_microseconds(0)  # its places are of the server's own time
    for _ in range(2):  # within one minute
        desk.run(commands.beat(desk.limits, said))
    (kept,) = desk.run(overviews.history(since, 10))
    assert kept.counts.open_total == 1
    assert desk.ledger.client.ttl(keys.HISTORY) > 0


def test_quantiles_lie_within_their_bucket() -> None:
    some = Histogram((1.0, 2.0), (50, 50, 0), 100.0)
    assert some.quantile(0.25) == 0.5
    assert some.quantile(0.75) == 1.5
    assert some.quantile(1.0) == 2.0
    assert Histogram((1.0, 2.0), (0, 0, 3), 100.0).quantile(0.5) == 2.0
    assert Histogram((1.0, 2.0), (0, 0, 0), 0.0).quantile(0.5) is None
    assert some.since(Histogram((1.0, 2.0), (40, 50, 0), 80.0)) == ((1.0, 2.0), (10, 0, 0), 20.0)
    anew = Histogram((1.0, 2.0), (1, 0, 0), 1.0)
    assert anew.since(some) == anew, "counters began anew"
