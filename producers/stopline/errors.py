"""Every error that Stopline raises on purpose.

    StoplineError
    ├── InvalidSettingsError        a variable is missing or contradicts another one
    ├── InvalidRequestError         the request breaks the contract; nothing was accepted
    │   └── IdempotencyConflictError  its key was used for another target; nothing was accepted
    ├── UnavailableError            Redis or the broker cannot be reached
    │   └── NoServerError           no Redis is configured and no embedded server runs
    ├── LedgerFullError             Redis is close to `maxmemory`; nothing was accepted
    ├── UnknownRequestError         the ledger knows no such request, batch or dead letter
    └── OutcomeTimeoutError         no outcome yet when the time to wait was over

A message says what happened, where, and what to do. None carries a token or a password.
"""

from __future__ import annotations


class StoplineError(Exception):
    """The base of all errors of Stopline."""


class InvalidSettingsError(StoplineError):
    """A setting is missing, malformed, or contradicts another one."""


class InvalidRequestError(StoplineError):
    """A stop request breaks the contract; nothing of it was accepted."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class IdempotencyConflictError(InvalidRequestError):
    """The idempotency key, or the place in the batch, was already used for another target."""


class UnavailableError(StoplineError):
    """Redis or the broker cannot be reached; the call may be repeated safely."""


class NoServerError(UnavailableError):
    """Neither is a Redis configured nor does an embedded server run."""


class LedgerFullError(StoplineError):
    """Redis is close to its `maxmemory`: new requests are refused so that open ones can settle."""


class UnknownRequestError(StoplineError):
    """The ledger knows no such request, batch or dead letter (or no longer)."""


class OutcomeTimeoutError(StoplineError):
    """The request had no outcome yet when the time to wait for it was over."""
