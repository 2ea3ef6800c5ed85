"""The API is away for an hour, with default settings, on virtual time: all end as stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from stopline.contract import Lane, OutcomeKind, StopRequest
from stopline.ledger import commands, queries
from stopline.ledger.values import Submission
from stopline.settings.model import Settings
from stopline.wiring import limits_of
from stopline_worker.engine.backoff import Backoff
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from tests.simulation.broker import Broker
from tests.simulation.ledger import LedgerServer, SimulatedRedis
from tests.simulation.upstream import Call, Upstream
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.worker import Worker
from tests.simulation.world import Faults, World

if TYPE_CHECKING:
    from stopline.ledger.limits import Limits

_BEGINS_S: Final = 20.0
_REQUESTS: Final = 40
_WITHIN_S: Final = 60.0 + 2.0
"""The longest backoff, and a sweep."""
_HERD: Final = 8
"""Of forty requests that come back within a minute, so many in one second were a herd."""


class _AwayUpstream(Upstream):
    """Answers nobody, or refuses everybody, for a while."""

    def __init__(self, world: World, reply: Reply | NoReply, lasts_s: float) -> None:
        super().__init__(world)
        self._reply = reply
        self.ends_s = _BEGINS_S + lasts_s
        self.calls_in_second: Counter[int] = Counter()

    async def _answer(self, call: Call) -> Reply | NoReply:
        now_s = self._world.monotonic()
        self.calls_in_second[int(now_s)] += 1
        if _BEGINS_S <= now_s < self.ends_s:
            await asyncio.sleep(0.01)
            return self._reply
        return await super()._answer(call)


class _Unwatched:
    """Looks at nothing: the other tests do, and an hour has many commands."""

    def ran(self, *_: object) -> None:
        """A command ran."""


class _Outage:
    """A worker and an upstream that goes away, and requests from before and during that."""

    def __init__(self, reply: Reply | NoReply, lasts_s: float) -> None:
        settings = Settings.load()
        self._limits: Limits = limits_of(settings)
        self._world = World(17, faults=Faults.none())
        self.upstream = _AwayUpstream(self._world, reply, lasts_s)
        self._server = LedgerServer()
        self._redis = SimulatedRedis(self._world, self._server, _Unwatched())
        self._worker = Worker(
            self._world,
            self._redis,
            self.upstream,
            Broker(self._world),
            "worker",
            tuple(Lane),
            max_in_flight=settings.max_in_flight,
            limits=self._limits,
            backoff=Backoff(settings.backoff_base_s, settings.backoff_cap_s),
        )
        self.ended_s = 0.0

    def _accept(self, number: int) -> None:
        request = StopRequest(user_id="u", task_id=str(number), request_id=f"r{number}")
        self._redis.run("producer", commands.accept(self._limits, [Submission(request)]))

    def kinds(self) -> Counter[str]:
        """How many requests ended how."""
        found = (queries.outcome(f"r{number}") for number in range(_REQUESTS))
        outcomes = (self._server.run(one, 0) for one in found)
        return Counter(one.outcome if one else "open" for one in outcomes)

    async def main(self) -> None:
        living = asyncio.create_task(self._worker.live())
        for number in range(_REQUESTS):
            await asyncio.sleep(1.0)
            self._accept(number)
        await asyncio.sleep(self.upstream.ends_s - self._world.monotonic())
        # Open is what is due, and only that.
        while self._server.look([])[1]:  # noqa: ASYNC110  # the ledger tells nobody
            await asyncio.sleep(0.1)
        self.ended_s = self._world.monotonic()
        living.cancel()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("reply", "lasts_s"),
    [
        (NoReply(CallErrorKind.CONNECT, "refused"), 3600),
        (Reply(503), 600),
        (Reply(401), 300),
    ],
    ids=["no reply for an hour", "503 for ten minutes", "401 for five minutes"],
)
def test_all_are_stopped_within_a_minute_after_it_and_without_a_herd(
    reply: Reply | NoReply, lasts_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    outage = _Outage(reply, lasts_s)
    VirtualLoop(turns_max=2_000_000).run(outage.main())
    assert outage.kinds() == {OutcomeKind.STOPPED: _REQUESTS}
    assert outage.ended_s - outage.upstream.ends_s <= _WITHIN_S
    if reply == Reply(401):  # the gate was shut: a new token is no reason to go slowly
        first = outage.upstream.calls_in_second
        assert any(first[int(outage.upstream.ends_s) + more] > _HERD for more in range(5))
        return
    seconds = range(int(outage.upstream.ends_s), int(outage.ended_s) + 1)
    assert max(outage.upstream.calls_in_second[second] for second in seconds) <= _HERD
    loud = [one for one in caplog.records if getattr(one, "action", "").startswith("api_")]
    assert 1 < len(loud) <= lasts_s / 60 + 3, "once a minute, and when it is over"
