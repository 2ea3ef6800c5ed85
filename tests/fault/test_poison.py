"""A request that kills its process, on real ones: quarantined, and its neighbours end normally."""

from __future__ import annotations

from pathlib import Path

import pytest

from stopline import OutcomeKind, StopRequest
from stopline.contract import Outcome
from tests.conftest import wait_until
from tests.support.processes import Stack

_NEIGHBOURS = 99


@pytest.mark.timeout(170)
@pytest.mark.parametrize("poison", [1, 2])
def test_poison_takes_no_neighbour_along(tmp_path: Path, redis_url: str, poison: int) -> None:
    with Stack(tmp_path, redis_url) as stack:
        stack.api.start(latency_ms=100)
        stack.settings |= {"call_timeout_s": 1, "read_timeout_s": 1, "connect_timeout_s": 1}
        stack.settings |= {"lease_s": 2, "max_in_flight": 100}
        names = [f"poison-{number}" for number in range(poison)]
        names += [str(number) for number in range(_NEIGHBOURS)]
        requests = [StopRequest(user_id="u", task_id=name) for name in names]
        submitted = stack.client.stop_many(requests)  # one message: the worker starts later
        worker = stack.worker(variables={"PYTHONPATH": str(Path(__file__).parent / "poison")})
        wait_until(lambda: stack.client.batch(submitted.batch_id).pending == 0, limit_s=120)
        batch = stack.client.batch(submitted.batch_id)
        assert batch.outcomes[OutcomeKind.QUARANTINED] == poison
        assert batch.outcomes[OutcomeKind.STOPPED] == _NEIGHBOURS
        outcome = stack.client.status(submitted.receipts[0].request_id)
        assert isinstance(outcome, Outcome)
        assert "3 workers in a row were lost" in outcome.detail
        assert len(outcome.attempts) == 3
        assert {one.request_id for one in stack.client.dead_letters()} >= {outcome.request_id}
        assert worker.process is not None
        assert worker.process.poll() is None  # the worker itself lives on
