"""A ledger whose clock is a key that the test sets, so that no test waits for time to pass."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from stopline.ledger import Ledger, scripts

if TYPE_CHECKING:
    import redis

CLOCK: Final = "test:clock"
START_US: Final = 1_800_000_000_000_000
_READS_TIME: Final = "redis.call('TIME')"
_READS_KEY: Final = (
    f"(function() local at = redis.call('GET', '{CLOCK}') "
    "return {string.sub(at, 1, -7), string.sub(at, -6)} end)()"
)


def _source(name: str, *, flags: bool) -> str:
    text = scripts.source(name, flags=flags)
    assert text.count(_READS_TIME) <= 1
    return text.replace(_READS_TIME, _READS_KEY)


class VirtualTime:
    """The clock of a ledger in a test, in microseconds."""

    def __init__(self, client: redis.Redis, *, flags: bool) -> None:
        self._client = client
        self.ledger = Ledger(client, source=partial(_source, flags=flags))
        self.now_us = START_US
        self._write()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_us += round(seconds * 1_000_000)
        self._write()

    def tick(self) -> None:
        """Let the smallest time pass: two scripts never run in one microsecond."""
        self.now_us += 1
        self._write()

    def _write(self) -> None:
        self._client.set(CLOCK, self.now_us)
