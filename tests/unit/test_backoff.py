"""Full jitter: between nothing and a ceiling that doubles up to its cap."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stopline_worker.engine.backoff import Backoff

BACKOFF = Backoff(base_s=0.5, cap_s=60)


@given(st.integers(1, 10**6), st.integers())
def test_a_delay_lies_between_nothing_and_the_ceiling(attempt: int, seed: int) -> None:
    assert 0 <= BACKOFF.delay_s(attempt, Random(seed)) <= BACKOFF.ceiling_s(attempt) <= 60


@given(st.integers(1, 1000))
def test_the_ceiling_doubles_up_to_the_cap(attempt: int) -> None:
    assert BACKOFF.ceiling_s(attempt + 1) == min(60, BACKOFF.ceiling_s(attempt) * 2)


@given(st.integers(1, 100), st.floats(0, 1e6), st.integers())
def test_what_the_api_asks_for_is_the_least(attempt: int, asked_s: float, seed: int) -> None:
    assert BACKOFF.delay_s(attempt, Random(seed), at_least_s=asked_s) >= asked_s


def test_delays_spread_over_the_whole_range() -> None:
    random = Random(1)
    delays = [BACKOFF.delay_s(5, random) for _ in range(1000)]
    assert min(delays) < 0.1 * BACKOFF.ceiling_s(5)
    assert max(delays) > 0.9 * BACKOFF.ceiling_s(5)
