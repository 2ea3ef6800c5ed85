"""Random interleavings of everything that can happen to one target, against a plain model.

After every step:
(a) each accepted request has exactly one terminal outcome, or is open;
(b) `stopped` only if a successful call began at or after the wish was issued;
(c) open if and only if in `due`;
(d) never two calls in flight for one target under valid leases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stopline.contract import (
    Guard,
    GuardLimit,
    Lane,
    OutcomeKind,
    ReceiptKind,
    StopRequest,
    Target,
    from_microseconds,
)
from stopline.ledger import commands, guards, keys, values
from stopline.ledger.limits import Limits
from stopline.ledger.values import Accepted, Answer, Cause, Ended, Released, Retry, Submission
from tests.ledger.desk import FAILED, Desk
from tests.ledger.model import Model
from tests.support.virtual_time import VirtualTime

if TYPE_CHECKING:
    import pytest

_SECOND = 1_000_000
LIMITS = Limits(deadline_s=600, lease_s=30, look_again_s=5, attempts_max=3, claims_lost_max=3)
_LANES = st.sampled_from(list(Lane))


@dataclass(frozen=True, slots=True)
class Flight:
    """A call that a worker believes to be in flight."""

    request_id: str
    token: str
    began_at: int
    lease_end: int


class LedgerMachine(RuleBasedStateMachine):
    """The ledger and its model, side by side."""

    redis_url: str

    @initialize()
    def start(self) -> None:
        self.client = redis.Redis.from_url(self.redis_url)
        self.client.flushall()
        self.time = VirtualTime(self.client, flags=True)
        self.desk = Desk(self.time)
        self.desk.limits = LIMITS
        self.model = Model(
            lease=30 * _SECOND,
            attempts_max=LIMITS.attempts_max,
            lost_max=LIMITS.claims_lost_max,
        )
        self._trip_the_guard()
        self.flights: list[Flight] = []
        self.wishes: list[tuple[str, int]] = []
        self.successes: list[int] = []
        self.made = 0

    def _trip_the_guard(self) -> None:
        """From here on everything new of one source is held."""
        wild = Guard(source="wild", limit=GuardLimit(requests=1, window_s=60))
        assert self.desk.run(guards.apply_guards(LIMITS, [wild], "", None))
        for name in "ab":
            receipt = self.desk.stop(name, source="wild", lasts_s=1)
        assert receipt.receipt is ReceiptKind.HELD
        self.time.advance(2)
        self.desk.sweep()

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()

    # --- what happens -------------------------------------------------------------------------

    @rule(
        ago_s=st.sampled_from([0, 0, 0, 1, 10, 40]),
        lasts_s=st.sampled_from([5, 60, 600]),
        lane=_LANES,
        alias=st.booleans(),
        is_kept_back=st.booleans(),
    )
    def accept(self, ago_s: int, lasts_s: int, lane: Lane, alias: bool, is_kept_back: bool) -> None:
        self.made += 1
        request_id = f"r{self.made}"
        now = self.time.now_us + 1  # the desk ticks before it runs
        issued_at = now - ago_s * _SECOND
        not_after = now + lasts_s * _SECOND
        request = StopRequest(
            user_id="u",
            task_id="t",
            lane=lane,
            request_id=request_id,
            source="wild" if is_kept_back else "calm",
            issued_at=from_microseconds(issued_at),
            not_after=from_microseconds(not_after),
        )
        submission = Submission(request, alias=alias)
        reply = self.desk.run(commands.accept(LIMITS, [submission]))[0]
        expected = self.model.accept(
            request_id, now, issued_at, not_after, is_kept_back=is_kept_back
        )
        assert isinstance(reply, Accepted)
        assert (reply.receipt.receipt, reply.receipt.request_id) == expected
        self.wishes.append((reply.receipt.request_id, issued_at))

    @rule(data=st.data())
    @precondition(lambda self: self.model.open)
    def message(self, data: st.DataObject) -> None:
        """A dispatch message arrives, whether sent once, late, or again."""
        self._claim(data.draw(st.sampled_from(sorted(self.model.open))))

    def _claim(self, request_id: str) -> None:
        claimed = self.desk.claim(request_id)
        granted = self.model.claim(request_id, self.time.now_us)
        assert [one.request_id for one in claimed.grants] == [request_id] * granted
        if granted:
            now = self.time.now_us
            (grant,) = claimed.grants
            self.flights.append(Flight(request_id, grant.token, now, now + 30 * _SECOND))

    @rule()
    def sweep(self) -> None:
        """An engine looks at the due index: it finds what the model would grant, and ends more."""
        claimed = self.desk.sweep()
        now = self.time.now_us
        for request_id in sorted(self.model.open, key=lambda one: one != self.model.active):
            self._expect_swept(request_id, claimed, now)
        for lane in Lane:  # nothing that was due is left lying, but what this sweep made due
            left = {one.decode() for one in self.client.zrangebyscore(keys.due(lane), 0, now)}
            assert left <= {one.request_id for one in claimed.promoted}

    def _expect_swept(self, request_id: str, claimed: values.Claimed, now: int) -> None:
        wish = self.model.open.get(request_id)
        granted = [one for one in claimed.grants if one.request_id == request_id]
        if granted:
            assert self.model.claim(request_id, now)
            self.flights.append(Flight(request_id, granted[0].token, now, now + 30 * _SECOND))
        elif wish is not None and self.desk.outcome(request_id) is not None:
            assert not self.model.claim(request_id, now)  # it ends in the model too
            assert request_id in self.model.outcomes

    @rule(
        data=st.data(),
        result=st.sampled_from(["stopped", "rejected", "answered", "failed", "release"]),
    )
    @precondition(lambda self: self.flights)
    def settle(self, data: st.DataObject, result: str) -> None:
        """A call ends; its worker may have lost its lease long ago."""
        flight = data.draw(st.sampled_from(self.flights))
        self.flights.remove(flight)
        lease = (flight.request_id, flight.token)
        settlement = {
            "stopped": Ended(*lease, FAILED, OutcomeKind.STOPPED, "yes"),
            "rejected": Ended(*lease, FAILED, OutcomeKind.REJECTED, "no"),
            "answered": Retry(*lease, FAILED, Cause.ANSWERED, 10 * _SECOND),
            "failed": Retry(*lease, FAILED, Cause.FAILED, 10 * _SECOND),
            "release": Released(*lease),
        }[result]
        (answer,) = self.desk.run(commands.settle(LIMITS, [settlement])).answers
        valid = flight.lease_end > self.time.now_us
        assert (answer is not Answer.LOST) == valid
        if not valid:
            return
        if result == "stopped":
            self.successes.append(flight.began_at)
        self.model.settle(flight.request_id, self.time.now_us, result, 10 * _SECOND)

    @rule(data=st.data())
    @precondition(lambda self: self.flights)
    def renew(self, data: st.DataObject) -> None:
        flight = data.draw(st.sampled_from(self.flights))
        lease = (flight.request_id, flight.token)
        kept = self.desk.run(commands.renew(LIMITS, [lease])).kept[0]
        now = self.time.now_us
        assert kept == (flight.lease_end > now)
        if kept:
            self.flights.remove(flight)
            renewed = Flight(flight.request_id, flight.token, flight.began_at, now + 30 * _SECOND)
            self.flights.append(renewed)
            self.model.open[flight.request_id].lease_end = renewed.lease_end

    @rule(data=st.data())
    @precondition(lambda self: self.flights)
    def crash(self, data: st.DataObject) -> None:
        """A worker dies: nobody settles its call."""
        self.flights.remove(data.draw(st.sampled_from(self.flights)))

    @rule(ago_s=st.sampled_from([0, 0, 1, 10]))
    def resume(self, ago_s: int) -> None:
        at = self.time.now_us + 1 - ago_s * _SECOND
        self.desk.run(commands.resume(LIMITS, Target("u", "t"), at))
        self.model.resume(self.time.now_us, at)

    @rule(data=st.data())
    @precondition(lambda self: self.model.open)
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.model.open)))
        self.desk.cancel(request_id)
        self.model.cancel(request_id, self.time.now_us)

    @rule(data=st.data())
    @precondition(lambda self: self.model.open)
    def release(self, data: st.DataObject) -> None:
        """A person lets something go, held or not; what waits for its turn is asked for again."""
        request_id = data.draw(st.sampled_from(sorted(self.model.open)))
        if request_id == self.model.held and self.model.active and self.model.next:
            return
        words, _ = self.desk.run(guards.release(LIMITS, [request_id], None))
        assert words == (self.model.release(request_id, self.time.now_us),)

    @rule(seconds=st.sampled_from([0.001, 1, 6, 15, 31, 120]))
    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)

    # --- what must hold -----------------------------------------------------------------------

    @invariant()
    def each_request_has_one_outcome_or_is_open(self) -> None:
        for request_id, _ in getattr(self, "wishes", ()):
            outcome = self.desk.outcome(request_id)
            assert outcome == self.model.outcomes.get(request_id)
            assert (outcome is None) == (request_id in self.model.open)

    @invariant()
    def stopped_only_by_a_call_that_began_after_the_wish(self) -> None:
        for request_id, issued_at in getattr(self, "wishes", ()):
            if self.model.outcomes.get(request_id) == "stopped":
                assert any(began_at >= issued_at for began_at in self.successes)

    @invariant()
    def open_if_and_only_if_due(self) -> None:
        if hasattr(self, "desk"):
            assert self.desk.due() == set(self.model.open)

    @invariant()
    def one_call_in_flight_at_a_time(self) -> None:
        now = getattr(self, "time", None)
        valid = [one for one in getattr(self, "flights", ()) if one.lease_end > now.now_us]
        assert len(valid) <= 1


def test_random_interleavings_agree_with_the_model(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LedgerMachine, "redis_url", redis_url, raising=False)
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,  # the machine's speed is no claim of this test
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
