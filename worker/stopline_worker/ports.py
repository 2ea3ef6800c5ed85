"""What the engine needs of the world outside: the ledger, the API, its token.

Production gives it Redis and HTTP (`engine_thread.py`); the simulation in `tests/simulation` gives
it ones that lose, repeat and delay, under a clock of its own. The engine is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from stopline.ledger.values import Command
    from stopline_worker.verdict import NoReply, Reply

T = TypeVar("T")


class Records(Protocol):
    """The ledger, as `stopline.ledger.AsyncLedger` is one."""

    async def run(self, command: Command[T]) -> T:
        """Run one command; raises `UnavailableError` where it may or may not have run."""


class Api(Protocol):
    """The upstream."""

    async def call(self, target: str) -> Reply | NoReply:
        """Make one call; a failed one is a `NoReply`, not an exception."""


class Token(Protocol):
    """The API token."""

    def reread(self) -> bool:
        """Read the token again; whether it changed."""

    def redact(self, text: str) -> str:
        """The text without the token."""
