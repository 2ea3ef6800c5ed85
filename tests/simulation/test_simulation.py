"""Hundreds of seeds in the suite; `make simulate SEEDS=10000` runs more."""

from __future__ import annotations

import pytest

from tests.simulation.ledger import LedgerServer
from tests.simulation.run import simulate
from tests.simulation.world import Faults

_SEEDS = 300
_A_TEST = 50


@pytest.mark.parametrize("first", range(1, _SEEDS, _A_TEST))
def test_what_must_hold_holds_after_every_step(first: int) -> None:
    server = LedgerServer()
    for seed in range(first, first + _A_TEST):
        _check(seed, server)


@pytest.mark.parametrize("seed", [3773])
def test_a_seed_that_once_failed_holds(seed: int) -> None:
    _check(seed, LedgerServer())


def test_the_same_seeds_hold_on_a_real_server(redis_url: str) -> None:
    server = LedgerServer(redis_url)
    for seed in range(1, 40):
        _check(seed, server)


def test_a_seed_is_one_run(redis_url: str) -> None:
    """The same seed tells the same story, on fakeredis and on a real server."""
    for seed in (3, 50, 77):
        story = simulate(seed, LedgerServer()).story
        assert len(story.splitlines()) > 20
        assert simulate(seed, LedgerServer()).story == story
        assert simulate(seed, LedgerServer(redis_url)).story == story


def test_a_crash_before_or_after_any_step_costs_nothing() -> None:
    """Not by chance: one run for each moment of a run in which nothing else goes wrong."""
    server = LedgerServer()
    whole = simulate(6, server, faults=Faults.none())
    assert whole.broken is None
    assert whole.boundaries > 100
    for moment in range(1, whole.boundaries + 1):
        report = simulate(6, server, faults=Faults.none(), crash_at=moment)
        if report.broken:
            pytest.fail(f"{report.story}\n{report.summary}\n  crash_at={moment}")


def _check(seed: int, server: LedgerServer) -> None:
    report = simulate(seed, server)
    if report.broken:
        pytest.fail(f"{report.story}\n{report.summary}\n  replay: make simulate SEED={seed}")
