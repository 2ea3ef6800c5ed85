"""The ledger's clock, carried on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline_worker.engine.clock import LedgerClock


@given(st.floats(0, 1e6), st.floats(0, 10), st.floats(0, 1), st.floats(0, 1e5))
def test_it_is_never_behind_the_ledger(
    start: float, way: float, share: float, later: float
) -> None:
    """Wherever on the way the script ran, and however long ago: a lease ends early, not late."""
    monotonic = start
    clock = LedgerClock(lambda: monotonic)
    ledger_is_ahead_s = 1_000_000
    sent = clock.monotonic()
    ran_at = start + way * share
    monotonic = start + way
    clock.observe(round((ran_at + ledger_is_ahead_s) * 1e6), sent)
    monotonic += later
    true_us = (monotonic + ledger_is_ahead_s) * 1e6
    assert true_us - 1 <= clock.now_us() <= true_us + way * 1e6 + 1


def test_it_cannot_tell_before_it_was_told() -> None:
    with pytest.raises(RuntimeError):
        LedgerClock().now_us()
