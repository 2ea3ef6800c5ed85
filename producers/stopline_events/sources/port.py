"""What the bridge needs of a stream: read some, acknowledge them, or give them back.

A message is acknowledged when the ledger has it (or the quarantine), so that a bridge that dies at
any point leaves it to be read again; what was accepted is found again by its key.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from stopline.errors import StoplineError

if TYPE_CHECKING:
    from collections.abc import Sequence


class SourceError(StoplineError):
    """A stream cannot be reached, or refuses; the bridge tries again."""


class Message(NamedTuple):
    """One message of a stream.

    Attributes:
        position: where it stands in its stream: `1700000000000-0`, `3@1234`, `line 7`.
        body: its bytes; empty where there are `fields`.
        headers: names in lower case.
        content_type: what it says of its body; empty: nothing.
        arrived_at: when the stream got it, where that is known.
        fields: what a message has in place of a body, where streams are of fields.
        handle: what its source knows it by.
        problem: why it cannot be read, where its source can tell.
    """

    position: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    arrived_at: datetime | None = None
    fields: dict[str, str] | None = None
    handle: Any = None
    problem: str | None = None


_SANE: Final = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def arrival(milliseconds: float) -> datetime | None:
    """When a message came, as its stream tells it; None for what somebody made up."""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return at if _SANE[0] <= at <= _SANE[1] else None


class Source(Protocol):
    """A stream of messages, for one reader."""

    @property
    def name(self) -> str:
        """What it is, for people and in records: `redis-stream stops`."""

    @property
    def identity(self) -> str:
        """What positions are in, for keys: the same however it is asked for."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""

    async def open(self) -> None:
        """Connect; raises `SourceError`. Again after an error."""

    async def read(self, count: int, wait_s: float) -> Sequence[Message]:
        """At most so many, in their order; none when nothing came in time. Raises `SourceError`."""

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """These are done for good; raises `SourceError`, and then they come again."""

    async def give_back(self, messages: Sequence[Message]) -> None:
        """These are not done: let them be read again. Never fails."""

    async def lag(self) -> int | None:
        """How many messages were not acknowledged yet, if that is known; raises `SourceError`."""

    async def close(self) -> None:
        """Disconnect; what was not acknowledged comes again. Never fails."""
