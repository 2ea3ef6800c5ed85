"""What a verb is made of.

A verb is a generator: it yields steps (run a ledger command, send a message, wait for an outcome)
and gets each step's result back. `StopClient` and `AsyncStopClient` only take the steps, each in
its own way (the "sans-IO" pattern, https://sans-io.readthedocs.io). Verbs are written with the
functions at the end, which give the results their types: `found = yield from run(command)`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from stopline.contract import DeadMessage, Lane, Outcome
    from stopline.ledger.values import Command

T = TypeVar("T")


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
    """What `Begin` gave."""


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


@dataclass(frozen=True, slots=True)
class Begun(Generic[T]):
    """A command under way, whose reply is a `T`."""

    handle: Any


def run(command: Command[T]) -> Verb[T]:
    """Run a command; its parsed reply."""
    reply: T = yield Run(command)
    return reply


def begin(command: Command[T]) -> Verb[Begun[T]]:
    """Begin to run a command: see `Begin`."""
    return Begun((yield Begin(command)))


def finish(begun: Begun[T]) -> Verb[T]:
    """Wait for a command that was begun; its parsed reply."""
    reply: T = yield Finish(begun.handle)
    return reply


def await_outcome(request_id: str, timeout_s: float | None) -> Verb[Outcome | None]:
    """Wait for an outcome: see `Await`."""
    found: Outcome | None = yield Await(request_id, timeout_s)
    return found
