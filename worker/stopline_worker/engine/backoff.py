"""How long to wait before the next attempt: exponential backoff with full jitter.

https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/: with full jitter the
callers that failed together do not come back together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """`random(0, min(cap, base * 2^(attempt - 1)))`, in seconds."""

    base_s: float
    cap_s: float

    def ceiling_s(self, attempt: int) -> float:
        """The longest wait after the attempt of that number (the first is 1)."""
        # 2**attempt outgrows every float long before a cap of any use does.
        doublings = min(attempt - 1, 64)
        return float(min(self.cap_s, self.base_s * 2**doublings))

    def delay_s(self, attempt: int, random: Random, *, at_least_s: float = 0.0) -> float:
        """The wait after an attempt; `at_least_s` is what the API asked for."""
        return max(at_least_s, random.uniform(0.0, self.ceiling_s(attempt)))
