"""Exit codes: what a script can rely on."""

from __future__ import annotations

from enum import IntEnum

from stopline.errors import (
    IdempotencyConflictError,
    LedgerFullError,
    OutcomeTimeoutError,
    StoplineError,
    UnavailableError,
)


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    NOT_ALL_STOPPED = 1
    """An outcome is not `stopped`, a line or dead letter was refused, or a worker stands still."""
    BAD_INPUT = 2
    """Bad usage, input or settings."""
    UNAVAILABLE = 3
    """Redis, broker or API out of reach."""
    CONFLICT = 4
    """An idempotency key was used for another target."""


def exit_code(error: StoplineError) -> Exit:
    """The exit code that an error stands for."""
    match error:
        case IdempotencyConflictError():
            return Exit.CONFLICT
        case UnavailableError() | LedgerFullError():
            return Exit.UNAVAILABLE
        case OutcomeTimeoutError():
            return Exit.NOT_ALL_STOPPED
        case _:
            return Exit.BAD_INPUT
