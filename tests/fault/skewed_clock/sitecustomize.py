"""Makes the wall clock of a Python process wrong; found by it through PYTHONPATH."""

import os
import time

_OFFSET_S = float(os.environ.get("SKEWED_CLOCK_S", "0"))
_time, _time_ns = time.time, time.time_ns


def _wrong_time() -> float:
    return _time() + _OFFSET_S


def _wrong_time_ns() -> int:
    return _time_ns() + round(_OFFSET_S * 1e9)


time.time, time.time_ns = _wrong_time, _wrong_time_ns
