"""The chaos suite's wrong clock is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.fault.faults import FAULTS, Fault

_SKEWED = [fault for fault in FAULTS if fault.environments]


@pytest.mark.parametrize("fault", _SKEWED, ids=lambda fault: fault.name)
def test_a_process_with_these_variables_has_a_wrong_clock(fault: Fault) -> None:
    (variables,) = fault.environments
    told = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env={**os.environ, **variables},
        capture_output=True,
        check=True,
    )
    offset_s = float(told.stdout) - time.time()
    assert offset_s == pytest.approx(float(variables["SKEWED_CLOCK_S"]), abs=60)
