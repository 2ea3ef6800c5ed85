"""`stopline.testing`: the rules are the real ones, time passes when a test says so."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

import pytest

from stopline import OutcomeKind, OutcomeTimeoutError, ReceiptKind, Target
from stopline.contract import CancelResult
from stopline.errors import InvalidRequestError, LedgerFullError, UnavailableError
from stopline.ledger.limits import Limits
from stopline.testing import Answer, AsyncFakeStopClient, FakeStopClient, World


def test_a_worker_calls_for_what_was_asked() -> None:
    client = FakeStopClient()
    receipt = client.stop("u", "t", reason="over budget")
    assert client.world.calls == []
    assert client.world.work() == 1
    assert client.world.stopped == [Target("u", "t")]
    outcome = client.outcome(receipt.request_id)
    assert outcome is not None
    assert (outcome.outcome, outcome.reason) == (OutcomeKind.STOPPED, "over budget")


def test_waiting_lets_time_pass() -> None:
    client = FakeStopClient()
    client.world.answer("u", "t", Answer.AWAY, Answer.AWAY)
    before = client.world.now
    outcome = client.wait(client.stop("u", "t").request_id)
    assert outcome.outcome is OutcomeKind.STOPPED
    assert [one.verdict for one in outcome.attempts] == ["RETRY", "RETRY", "STOPPED"]
    assert timedelta(seconds=1.5) <= client.world.now - before < timedelta(seconds=2)


def test_a_wait_that_may_last_for_ever_ends_with_the_outcome() -> None:
    client = FakeStopClient()
    assert client.wait(client.stop("u", "t").request_id, math.inf).outcome is OutcomeKind.STOPPED


def test_a_wait_whose_time_is_over_does_no_work() -> None:
    client = FakeStopClient()
    request_id = client.stop("u", "t").request_id
    with pytest.raises(OutcomeTimeoutError):
        client.wait(request_id, -1)
    assert client.world.calls == []


def test_trouble_in_trouble_ends_by_itself() -> None:
    client = FakeStopClient()
    with client.world.redis_is_away():
        with client.world.redis_is_full():
            pass
        with pytest.raises(UnavailableError):
            client.stop("u", "t")


def test_a_wait_ends_in_time() -> None:
    client = FakeStopClient()
    client.world.answer("u", "t", always=Answer.AWAY)
    request_id = client.stop("u", "t").request_id
    with pytest.raises(OutcomeTimeoutError, match="after 30 s"):
        client.wait(request_id, 30)
    assert len(client.world.calls) == 6
    assert client.wait(request_id).outcome is OutcomeKind.EXPIRED


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer.STOPPED, OutcomeKind.STOPPED),
        (Answer.REJECTED, OutcomeKind.REJECTED),
        (Answer.NOT_FOUND, OutcomeKind.NOT_FOUND),
        (Answer.UNCLEAR, OutcomeKind.EXHAUSTED),
    ],
)
def test_answers_lead_to_their_outcomes(answer: Answer, outcome: OutcomeKind) -> None:
    client = FakeStopClient()
    client.world.answer("u", "t", always=answer)
    assert client.wait(client.stop("u", "t").request_id).outcome is outcome


def test_the_rules_of_causal_dedup_are_the_real_ones() -> None:
    client = FakeStopClient()
    first, second = client.stop("u", "t"), client.stop("u", "t")
    assert second.receipt is ReceiptKind.JOINED
    client.world.work()
    issued_at = client.world.now - timedelta(seconds=1)
    client.resumed("u", "t")
    late = client.stop("u", "t", issued_at=issued_at)
    assert late.receipt is ReceiptKind.SUPERSEDED
    assert client.stop("u", "t").receipt is ReceiptKind.ACCEPTED
    assert client.outcome(first.request_id) is not None


def test_limits_are_what_a_test_wants() -> None:
    client = FakeStopClient(World(Limits(attempts_max=2)))
    client.world.answer("u", "t", always=Answer.UNCLEAR)
    assert len(client.wait(client.stop("u", "t").request_id).attempts) == 2


def test_many_are_worked_on() -> None:
    client = FakeStopClient()
    client.stop_many([{"user_id": "u", "task_id": str(n)} for n in range(1000)], batch_id="b")
    assert client.world.work() == 1000
    assert client.batch("b").outcomes[OutcomeKind.STOPPED] == 1000


def test_what_nobody_was_told_of_is_found_when_it_is_due() -> None:
    """As when a producer dies between accepting a request and sending its message."""
    client = FakeStopClient()
    client.stop("u", "t")
    client.world._messages.clear()
    assert client.world.work() == 0
    assert client.world.advance(10) == 1


def test_clients_of_one_world_see_the_same() -> None:
    world = World()
    receipt = FakeStopClient(world).stop("u", "t")

    async def run() -> None:
        async with AsyncFakeStopClient(world) as client:
            outcome = await client.wait(receipt.request_id)
            assert outcome.outcome is OutcomeKind.STOPPED
            again = await client.stop("u", "t2")
            assert (await client.status(again.request_id)).state == "queued"  # type: ignore[union-attr]

    asyncio.run(run())
    assert world.work() == 1


def test_a_moment_of_the_worlds_is_the_ledgers() -> None:
    client = FakeStopClient()
    at = client.world.now
    client.resumed("u", "t")
    assert client.stop("u", "t", issued_at=at).receipt is ReceiptKind.SUPERSEDED
    assert timedelta(0) <= client.now() - client.world.now < timedelta(microseconds=5)


def test_a_wait_without_a_timeout_ends_with_the_request() -> None:
    client = FakeStopClient()
    client.world.answer("u", "t", always=Answer.AWAY)
    not_after = client.world.now + timedelta(hours=6)
    outcome = client.wait(client.stop("u", "t", not_after=not_after).request_id)
    assert outcome.outcome is OutcomeKind.EXPIRED
    assert client.world.now >= not_after


def test_redis_may_be_away_or_full() -> None:
    client = FakeStopClient()
    request_id = client.stop("u", "t").request_id
    with client.world.redis_is_away(), pytest.raises(UnavailableError):
        client.status(request_id)
    with client.world.redis_is_full():
        assert client.outcome(request_id) is None
        with pytest.raises(LedgerFullError):
            client.stop("u", "t")
    assert client.stop("u", "t").receipt is ReceiptKind.JOINED


def test_calls_may_be_in_flight() -> None:
    client = FakeStopClient()
    receipt = client.stop("u", "t")
    with client.world.calls_in_flight() as targets:
        assert targets == [Target("u", "t")]
        assert client.stop("u", "t").receipt is ReceiptKind.ACCEPTED  # the next one
        assert client.cancel(receipt.request_id) is CancelResult.NO_FURTHER_ATTEMPT
        assert client.resumed("u", "t").in_flight == receipt.request_id
    outcome = client.outcome(receipt.request_id)
    assert outcome is not None
    assert outcome.outcome is OutcomeKind.STOPPED


def test_what_cannot_be_scripted_is_an_error_at_once() -> None:
    world = World()
    with pytest.raises(InvalidRequestError, match="task_id"):
        world.answer("u", "no slash/")
    with pytest.raises(ValueError, match="gone"):
        world.answer("u", "t", "gone")  # type: ignore[arg-type]  # that is the point


pytest_plugins = ["stopline.testing.plugin"]


def test_the_fixtures_share_a_world(
    stopline: FakeStopClient, async_stopline: AsyncFakeStopClient, stopline_world: World
) -> None:
    assert stopline.world is async_stopline.world is stopline_world
