"""Many producers at once ask for one target."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

from stopline import OutcomeKind, Receipt, Settings, StopClient

if TYPE_CHECKING:
    from tests.support.processes import Stack

PROCESSES = 4
STOPS = 200


def _stop_many_times(redis_url: str, count: int) -> list[Receipt]:
    with StopClient(Settings.load(redis_url=redis_url)) as client, ThreadPoolExecutor(10) as pool:
        return list(pool.map(lambda _: client.stop("u", "t"), range(count)))


def _from_all_processes(redis_url: str) -> list[Receipt]:
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(_stop_many_times, redis_url, STOPS // PROCESSES) for _ in range(PROCESSES)
        ]
        return [receipt for job in jobs for receipt in job.result()]


def test_with_no_worker_yet_200_stops_are_one_request_and_one_call(stack: Stack) -> None:
    stack.api.start()
    receipts = _from_all_processes(stack.redis_url)
    ids = {receipt.request_id for receipt in receipts}
    assert (len(receipts), len(ids)) == (STOPS, 1)
    stack.worker()
    (request_id,) = ids
    assert stack.client.wait(request_id, 60).outcome is OutcomeKind.STOPPED
    stack.wait_ready()
    assert len(stack.api.calls("u/t")) == 1


def test_with_a_call_in_flight_they_are_two_requests_and_two_calls(stack: Stack) -> None:
    """One in flight, one next: the call takes longer than all the stops."""
    stack.api.start([{"task_id": "t", "replies": [{"delay_s": 8}]}])
    stack.worker(concurrency=2)
    stack.wait_ready()
    receipts = _from_all_processes(stack.redis_url)
    ids = {receipt.request_id for receipt in receipts}
    assert len(receipts) == STOPS
    assert len(ids) <= 2
    outcomes = [stack.client.wait(one, 60) for one in ids]
    assert {one.outcome for one in outcomes} == {OutcomeKind.STOPPED}
    assert len(stack.api.calls("u/t")) == len(ids)
