"""How often rules fired and failed, told to the ledger once a second."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stopline import AsyncStopClient
    from stopline_events.decisions import Ruled

FIRED: Final = "rule_fired."
FAILED: Final = "rule_failed."
FLUSH_S: Final = 1.0


class RuleTally:
    """Counts in this process what is to be counted in the ledger."""

    def __init__(self, client: AsyncStopClient) -> None:
        self._client = client
        self._counts: Counter[str] = Counter()

    def add(self, ruled: Ruled) -> None:
        """Count what the rules said of an event."""
        self._counts.update(FIRED + one.rule for one in ruled.fired)
        self._counts.update(FAILED + one.rule for one in ruled.failed)

    async def flush(self) -> None:
        """Tell the ledger; what could not be told is told the next time."""
        counts, self._counts = self._counts, Counter()
        for name in list(counts):
            try:
                await self._client.count(name, counts[name])
            except BaseException:
                self._counts.update(counts)
                raise
            del counts[name]
