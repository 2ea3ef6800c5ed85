"""What a client needs beside the ledger: who sends its messages, and who waits for outcomes.

Production gives it `Publisher` and the listeners; `stopline.testing` gives it doubles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import DeadMessage, Lane, Outcome
    from stopline.ledger.queries import Progress


class Messages(Protocol):
    """Puts messages on the lanes' queues."""

    def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> bool:
        """Tell the workers of a lane of requests; whether the broker took it."""

    def republish(self, message: DeadMessage) -> None:
        """Put a quarantined message back on its queue; raises `UnavailableError`."""

    def close(self) -> None:
        """Close the connections."""


class AsyncMessages(Protocol):
    """The same for asyncio."""

    async def dispatch(self, lane: Lane, request_ids: Sequence[str]) -> bool:
        """As `Messages.dispatch`."""

    async def republish(self, message: DeadMessage) -> None:
        """As `Messages.republish`."""

    async def close(self) -> None:
        """Close the connections."""


class Waiting(Protocol):
    """Waits for outcomes."""

    def wait(self, request_id: str, timeout_s: float | None) -> Outcome | Progress:
        """The outcome as soon as it is there, UNKNOWN where nobody knows it, OPEN in the end."""

    def close(self) -> None:
        """Wait no more."""


class AsyncWaiting(Protocol):
    """The same for asyncio."""

    async def wait(self, request_id: str, timeout_s: float | None) -> Outcome | Progress:
        """As `Waiting.wait`."""

    async def close(self) -> None:
        """Wait no more."""
