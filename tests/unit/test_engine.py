"""The engine's slots, callers and settlements, on virtual time, with a ledger made of dicts."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from stopline import Lane, Target
from stopline.errors import UnavailableError
from stopline.ledger.limits import Limits
from stopline_worker.engine.attempt import Attempts
from stopline_worker.engine.backoff import Backoff
from stopline_worker.engine.clock import LedgerClock
from stopline_worker.engine.engine import Engine
from stopline_worker.upstream.api_watch import ApiWatch
from stopline_worker.upstream.reply import Reply
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.worker import FixedLanes, NoToken

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from stopline.ledger.values import Command

T = TypeVar("T")

LIMITS = Limits()
FAR_US = 10**15
GOOD = Reply(200, b'{"status":"success","code":200}')


class FakeLedger:
    """Grants whatever is asked for, and writes down what is settled."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.settled: list[tuple[str, str]] = []
        self.settling_takes_s = 0.0
        self.is_away = False
        self.lost: set[str] = set()

    async def run(self, command: Command[T]) -> T:
        if self.is_away:
            raise UnavailableError("away")
        now = str(round(self._loop.time() * 1_000_000)).encode()
        answer: Callable[[bytes, tuple[Any, ...]], Coroutine[Any, Any, Any]]
        answer = getattr(self, f"_{command.name}")
        return command.parse(await answer(now, command.arguments[1:]))

    async def _claim(self, now: bytes, ids: tuple[str, ...]) -> Any:
        await asyncio.sleep(0.001)
        grants = []
        for one in ids:
            lease_end = str(int(now) + 30_000_000)
            fields = (one, f"u/{one}", "1", str(FAR_US), lease_end, "0", "t.1")
            grants += [field.encode() for field in fields]
        return [now, grants, [], b""]

    async def _claim_due(self, now: bytes, _: Any) -> Any:
        return [now, [], [], b"", b""]

    async def _settle(self, now: bytes, fields: tuple[str, ...]) -> Any:
        await asyncio.sleep(self.settling_takes_s)
        self.settled += list(zip(fields[::5], fields[2::5], strict=True))
        return [now, [b"ended"] * (len(fields) // 5), []]

    async def _renew(self, now: bytes, leases: tuple[str, ...]) -> Any:
        return [now, [b"" if one in self.lost else b"1" for one in leases[::2]]]


class FakeApi:
    """Confirms after some time, and counts how many calls there are at once."""

    def __init__(self) -> None:
        self.takes_s = 1.0
        self.calls: list[str] = []
        self.at_once = 0
        self.at_once_max = 0

    async def call(self, target: Target, _credential: object) -> Reply:
        self.calls.append(str(target))
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        return GOOD


class Bench:
    """An engine with eight calls at a time, and what it works on."""

    def __init__(self, loop: VirtualLoop, *, max_in_flight: int = 8) -> None:
        self.loop = loop
        self.ledger = FakeLedger(loop)
        self.api = FakeApi()
        random = Random(17)
        watch = ApiWatch(loop.time)
        attempts = Attempts(
            self.api, NoToken(), Backoff(0.1, 1), random, watch, LedgerClock(loop.time)
        )
        self.engine = Engine(
            self.ledger,
            attempts,
            LIMITS,
            FixedLanes((Lane.BULK,)),
            max_in_flight=max_in_flight,
            name="e",
            random=random,
        )


def _run(story: Callable[[Bench], Coroutine[Any, Any, None]], **options: Any) -> None:
    loop = VirtualLoop()
    bench = Bench(loop, **options)

    async def main() -> None:
        bench.engine.start()
        await story(bench)

    loop.run(main())


def _ids(count: int) -> list[str]:
    return [f"r{n}" for n in range(count)]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(1000):
        while not condition():  # noqa: ASYNC110  # the engine tells nobody, and time is virtual
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("max_in_flight", [1, 3, 8])
def test_it_claims_ahead_but_never_calls_more_at_a_time(max_in_flight: int) -> None:
    async def story(bench: Bench) -> None:
        submitted = asyncio.create_task(bench.engine.submit(_ids(40), 1000))
        await asyncio.sleep(0.5)
        assert len(bench.api.calls) == max_in_flight
        assert bench.engine.in_flight == max_in_flight + max_in_flight // 4
        await submitted
        await _until(lambda: not bench.engine.in_flight)
        assert bench.api.at_once_max == max_in_flight
        assert sorted(bench.api.calls) == sorted(f"u/{one}" for one in _ids(40))
        assert len(bench.ledger.settled) == 40

    _run(story, max_in_flight=max_in_flight)


def test_a_connection_does_not_wait_for_the_ledger() -> None:
    async def story(bench: Bench) -> None:
        bench.api.takes_s = 0.5
        bench.ledger.settling_takes_s = 30.0
        await bench.engine.submit(_ids(10), 1000)
        await asyncio.sleep(0.75)
        assert not bench.ledger.settled
        assert len(bench.api.calls) == 10

    _run(story)


def test_results_do_not_pile_up_while_the_ledger_cannot_take_them() -> None:
    """A killed worker's calls are made again as far as their results were not written."""

    async def story(bench: Bench) -> None:
        bench.ledger.settling_takes_s = 20.0
        submitted = asyncio.create_task(bench.engine.submit(_ids(60), 1000))
        await asyncio.sleep(15)
        assert len(bench.api.calls) <= 8 + 2 + 2 + 1
        submitted.cancel()

    _run(story)


def test_what_is_ready_when_it_drains_is_released_at_once() -> None:
    async def story(bench: Bench) -> None:
        bench.api.takes_s = 5.0
        await bench.engine.submit(_ids(10), 1000)
        draining = asyncio.create_task(bench.engine.drain(20))
        await asyncio.sleep(1)
        assert bench.ledger.settled == [("r8", "release"), ("r9", "release")]
        await draining
        assert sorted(bench.ledger.settled[2:]) == sorted((one, "end") for one in _ids(8))

    _run(story)


def test_a_call_that_outlasts_the_drain_is_recorded_as_interrupted() -> None:
    async def story(bench: Bench) -> None:
        bench.api.takes_s = 15.0
        await bench.engine.submit(_ids(3), 1000)
        await bench.engine.drain(1)
        assert bench.ledger.settled == [(one, "interrupted") for one in _ids(3)]
        assert bench.loop.time() < 5

    _run(story)


def test_a_call_that_is_abandoned_leaves_its_caller_to_the_next() -> None:
    async def story(bench: Bench) -> None:
        bench.api.takes_s = 15.0
        bench.ledger.lost = {f"r{n}" for n in range(8)}
        await bench.engine.submit(_ids(10), 1000)
        await _until(lambda: not bench.engine.in_flight)
        assert bench.ledger.settled == [("r8", "release"), ("r9", "release")]
        bench.api.takes_s = 1.0
        await bench.engine.submit(["again"], 1000)
        await _until(lambda: not bench.engine.in_flight)
        assert bench.ledger.settled[-1] == ("again", "end")

    _run(story)


def test_single_requests_one_after_the_other_always_find_a_caller() -> None:
    """Callers end when nothing is ready; what comes in that moment must not wait for another."""

    async def story(bench: Bench) -> None:
        bench.api.takes_s = 0.0
        for one in _ids(200):
            await bench.engine.submit([one], 1000)
            if int(one[1:]) % 7 == 0:
                await asyncio.sleep(0)
        await _until(lambda: not bench.engine.in_flight)
        assert len(bench.ledger.settled) == 200

    _run(story, max_in_flight=1)


def test_an_idle_engine_does_not_linger() -> None:
    async def story(bench: Bench) -> None:
        began = bench.loop.time()
        await bench.engine.submit(["one"], 1000)
        await _until(lambda: bool(bench.api.calls))
        assert bench.loop.time() - began < 0.012

    _run(story)


def test_what_waits_for_a_slow_api_is_released_within_seconds_and_not_claimed_again() -> None:
    """To those who cancel it, it looks as if it were called already; and others may be free."""

    async def story(bench: Bench) -> None:
        bench.api.takes_s = 20.0
        submitted = asyncio.create_task(bench.engine.submit(_ids(40), 1000))
        await asyncio.sleep(3)
        assert bench.ledger.settled == [("r8", "release"), ("r9", "release")]
        await asyncio.sleep(10)
        assert len(bench.ledger.settled) == 2
        await submitted
        await _until(lambda: not bench.engine.in_flight)
        assert bench.api.at_once_max == 8
        ended = [one for one, follows in bench.ledger.settled if follows == "end"]
        released = [one for one, follows in bench.ledger.settled if follows == "release"]
        assert sorted([*ended, *released]) == sorted(_ids(40))

    _run(story)


def test_a_call_that_its_timeout_does_not_end_is_interrupted() -> None:
    async def story(bench: Bench) -> None:
        bench.api.takes_s = 10_000.0
        await bench.engine.submit(["stuck"], 1000)
        await _until(lambda: not bench.engine.in_flight)
        assert bench.ledger.settled == [("stuck", "interrupted")]
        assert bench.loop.time() < 3 * LIMITS.lease_s

    _run(story)


def test_a_fault_while_settling_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(bench: Bench) -> None:
        settled = bench.engine._calls._settled
        faults = iter([ValueError("of ours")])

        def fail_once(*arguments: Any) -> None:
            settled(*arguments)
            for fault in faults:
                raise fault

        monkeypatch.setattr(bench.engine._calls, "_settled", fail_once)
        await bench.engine.submit(["first"], 1000)
        await _until(lambda: not bench.engine.in_flight)
        await bench.engine.submit(["second"], 1000)
        await _until(lambda: not bench.engine.in_flight)
        assert [one for one, _ in bench.ledger.settled] == ["first", "second"]

    _run(story)
