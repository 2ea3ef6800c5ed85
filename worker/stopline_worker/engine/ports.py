"""What the engine needs of the world outside: the ledger, the API, its token.

Production gives it Redis and HTTP (`engine_thread.py`); the simulation in `tests/simulation` gives
it ones that lose, repeat and delay, under a clock of its own. The engine is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from stopline.contract import Lane, Target, Verified
    from stopline.ledger.values import Command
    from stopline_worker.upstream.api_token import Credential
    from stopline_worker.upstream.reply import NoReply, Reply

T = TypeVar("T")


class Lanes(Protocol):
    """The lanes that an engine works for; they may change at any time."""

    @property
    def consumed(self) -> tuple[Lane, ...]:
        """Those whose messages are taken: what is due in them is claimed."""

    @property
    def served(self) -> tuple[Lane, ...]:
        """Those that it was started for."""

    @property
    def paused(self) -> tuple[Lane, ...]:
        """Those that it would serve, and is not to."""


class Records(Protocol):
    """The ledger, as `stopline.ledger.AsyncLedger` is one."""

    async def run(self, command: Command[T]) -> T:
        """Run one command; raises `UnavailableError` where it may or may not have run."""


class Api(Protocol):
    """The upstream."""

    async def call(self, target: Target, credential: Credential) -> Reply | NoReply:
        """Make one call; a failed one is a `NoReply`, not an exception."""


class Verify(Protocol):
    """Reads the state of tasks back."""

    async def check(self, target: Target, credential: Credential) -> Verified:
        """How a task is; never fails."""


class Token(Protocol):
    """The API token."""

    credential: Credential
    """As it is now."""

    def reread(self) -> None:
        """Have it read again; does not wait for that."""
