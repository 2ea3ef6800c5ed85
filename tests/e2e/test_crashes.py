"""Processes that are killed for real: everything accepted still ends, each target stopped."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from stopline import Lane, OutcomeKind, State, StopRequest
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.support.processes import Stack

CALLS = 100


def _in_flight(stack: Stack, calls: int) -> None:
    wait_until(lambda: stack.api.total["calls"] >= calls, what=f"{calls} calls")


def _all_stopped(stack: Stack, batch_id: str) -> bool:
    batch = stack.client.batch(batch_id)
    return batch.pending == 0 and batch.outcomes[OutcomeKind.STOPPED] == batch.total


@pytest.mark.parametrize("victim", ["pool process", "whole worker"])
def test_killed_with_100_calls_in_flight(stack: Stack, victim: str) -> None:
    """After the kill no request stays longer than its lease and a few seconds."""
    hang = {"task_id": "*", "replies": [{"action": "hang"}]}
    stack.api.start([hang])  # the first call of each target never ends
    stack.settings.update(call_timeout_s=5, read_timeout_s=5, connect_timeout_s=5, lease_s=6)
    worker = stack.worker()
    submitted = stack.client.stop_many(
        [StopRequest(user_id="u", task_id=str(n)) for n in range(CALLS)]
    )
    _in_flight(stack, CALLS)
    killed_at = time.monotonic()
    if victim == "pool process":
        worker.pool[0].kill()
    else:
        worker.kill()
        worker = stack.worker()
    wait_until(lambda: _all_stopped(stack, submitted.batch_id), what="all outcomes")
    # Lease 6 s, a sweep, and the start of a process on a busy machine.
    assert time.monotonic() - killed_at < 6 + 20
    attempts = stack.client.status(submitted.receipts[0].request_id).attempts
    assert [one.verdict for one in attempts] == ["RETRY", "STOPPED"]
    assert "worker was lost" in str(attempts[0].error)


def test_the_whole_worker_killed_in_the_middle_of_a_batch(stack: Stack) -> None:
    stack.api.start(latency_ms=5)
    stack.settings.update(
        call_timeout_s=2, read_timeout_s=2, connect_timeout_s=2, lease_s=3, max_in_flight=20
    )
    worker = stack.worker(concurrency=2)
    requests = [StopRequest(user_id="u", task_id=str(n), lane=Lane.BULK) for n in range(5000)]
    submitted = stack.client.stop_many(requests)
    _in_flight(stack, 500)
    worker.kill()
    assert stack.client.batch(submitted.batch_id).pending > 0
    stack.worker(concurrency=2)
    wait_until(lambda: _all_stopped(stack, submitted.batch_id), what="all outcomes", limit_s=120)
    total = stack.api.total
    assert total["targets"] == 5000
    # A call whose outcome was not written before the kill is made again, no other is: in each of
    # two processes those in flight, a quarter claimed ahead, a quarter with results under way.
    assert total["calls"] <= 5000 + 2 * (20 + 5 + 5 + 1)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_sigterm_lets_calls_finish(stack: Stack, pool: str) -> None:
    stack.api.start(latency_ms=1500)
    worker = stack.worker(pool=pool)
    receipts = [stack.client.stop("u", str(n)) for n in range(20)]
    _in_flight(stack, 20)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    for receipt in receipts:
        outcome = stack.client.outcome(receipt.request_id)
        assert outcome is not None
        assert outcome.outcome is OutcomeKind.STOPPED
        assert len(outcome.attempts) == 1


def test_sigterm_releases_what_does_not_finish_in_time(stack: Stack) -> None:
    """Another worker takes it at once, long before the lease would have ended."""
    stack.api.start([{"task_id": "*", "replies": [{"action": "hang"}]}])
    stack.settings.update(drain_s=0.5, lease_s=100)
    worker = stack.worker()
    receipts = [stack.client.stop("u", str(n)) for n in range(20)]
    _in_flight(stack, 20)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    waiting = stack.client.status(receipts[0].request_id)
    assert getattr(waiting, "state", None) is State.WAITING
    assert str(waiting.attempts[0].error).startswith("interrupted")
    released_at = time.monotonic()
    stack.worker()
    for receipt in receipts:
        assert stack.client.wait(receipt.request_id, 60).outcome is OutcomeKind.STOPPED
    assert time.monotonic() - released_at < 50


def test_a_stopped_process_settles_nothing_after_its_lease(stack: Stack) -> None:
    """SIGSTOP longer than the lease, then SIGCONT: the late result changes nothing."""
    stack.api.start(latency_ms=1000)
    stack.settings.update(call_timeout_s=2, read_timeout_s=2, connect_timeout_s=2, lease_s=2.5)
    worker = stack.worker()
    receipt = stack.client.stop("u", "t")
    _in_flight(stack, 1)
    (process,) = worker.pool
    process.suspend()
    other = stack.worker()
    outcome = stack.client.wait(receipt.request_id, 60)
    process.resume()
    wait_until(lambda: process.status() != "stopped")
    stack.wait_ready()
    assert stack.client.outcome(receipt.request_id) == outcome
    assert [one.verdict for one in outcome.attempts] == ["RETRY", "STOPPED"]
    for one in (worker, other):
        one.send(signal.SIGTERM)
        assert one.wait() == 0
    assert stack.client.outcome(receipt.request_id) == outcome


def test_redis_away_for_a_while_loses_nothing(stack: Stack) -> None:
    """Clients paused on the server: calls finish, and settle when it is back."""
    stack.api.start(latency_ms=200)
    stack.worker()
    stack.wait_ready()
    receipts = [stack.client.stop("u", str(n)) for n in range(10)]
    _in_flight(stack, 11)
    with stack.client_of_server() as server:
        server.client_pause(1500, all=True)
    for receipt in receipts:
        outcome = stack.client.wait(receipt.request_id, 60)
        assert outcome.outcome is OutcomeKind.STOPPED
        assert len(outcome.attempts) == 1
