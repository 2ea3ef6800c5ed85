"""What a verb is made of.

A verb is a generator: it yields steps (run a ledger command, send a message, wait for an outcome)
and gets each step's result back. `StopClient` and `AsyncStopClient` only take the steps, each in
its own way (the "sans-IO" pattern, https://sans-io.readthedocs.io).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from stopline.contract import DeadMessage, Lane
    from stopline.ledger.values import Command

T = TypeVar("T")
LOOK_AGAIN_S = 1.0
"""How long a waiter trusts its subscription before it looks itself."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run a ledger command; the step's result is its parsed reply."""

    command: Command[Any]


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin to run a ledger command; the step's result is for `Finish`.

    Commands run in the order of these steps, unless one has to be repeated. What is never finished
    may have run all the same.
    """

    command: Command[Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """Wait for a command that was begun; the step's result is its parsed reply."""

    begun: Any


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send ids to a lane's queue."""

    lane: Lane
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Republish:
    """Put a quarantined message back on its queue."""

    message: DeadMessage


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until the outcome is there, the time is over, or the ledger knows no such request.

    The step's result is the outcome or None.
    """

    request_id: str
    timeout_s: float | None


Step = Run | Begin | Finish | Dispatch | Republish | Await
Verb = Generator[Step, Any, T]
