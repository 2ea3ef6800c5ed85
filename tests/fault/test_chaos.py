"""`make chaos`: every fault, on real processes under load. Nothing is lost, doubled or stuck."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fault import chaos
from tests.fault.faults import FAULTS, Fault
from tests.support.rabbitmq import is_installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CONSUMES_AGAIN_S = 90
"""With default settings a retry comes within a minute after the API is back, and a lease ends after
half of one."""


@pytest.mark.chaos
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_costs_nothing(
    fault: Fault, tmp_path: Path, tell: Callable[[chaos.Row], None]
) -> None:
    if fault.rabbitmq and not is_installed():
        pytest.skip("there is no rabbitmq-server")
    row = chaos.run(fault, tmp_path)
    tell(row)
    assert row.before > 0
    assert row.after > 0
    assert (row.lost, row.doubled, row.stuck) == (0, 0, 0)
    assert row.stopped == row.accepted
    assert row.recovery_s < _CONSUMES_AGAIN_S
