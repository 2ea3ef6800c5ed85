"""What users' own tests need: clients with a ledger in memory, and an API that is scripted.

    from stopline.testing import FakeStopClient

    def test_a_budget_that_is_spent_stops_its_task() -> None:
        stopline = FakeStopClient()
        watch_budgets(stopline)                     # the code under test
        assert stopline.world.work() == 1           # what a worker would do now
        assert stopline.world.stopped == [Target("u", "t")]

The rules are the real ones: validation, causal dedup, retries and outcomes come of the same scripts
as in production, on fakeredis. Time is virtual and passes only when a test says so. No message is
sent, and no process started. It needs the extra `testing`.
"""

from importlib.util import find_spec

if find_spec("fakeredis") is None or find_spec("lupa") is None:
    raise ImportError("stopline.testing needs fakeredis and lupa: pip install 'stopline[testing]'")

from stopline.ledger.limits import Limits
from stopline.testing.clients import AsyncFakeStopClient, FakeStopClient
from stopline.testing.world import Answer, Call, World

__all__ = ["Answer", "AsyncFakeStopClient", "Call", "FakeStopClient", "Limits", "World"]
