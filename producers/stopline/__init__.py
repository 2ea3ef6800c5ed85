"""Stopline: reliable task_stop calls, for producers.

`StopClient` and `AsyncStopClient` are the way in; importing this package loads no HTTP library.
"""

from stopline.arguments import Submitted
from stopline.async_client import AsyncStopClient
from stopline.client import StopClient
from stopline.contract import (
    Batch,
    CancelResult,
    DeadLetter,
    DeadMessage,
    Lane,
    OpenRequest,
    Outcome,
    OutcomeKind,
    Receipt,
    ReceiptKind,
    Refusal,
    ResumeResult,
    State,
    Status,
    StopRequest,
)
from stopline.errors import (
    IdempotencyConflictError,
    InvalidRequestError,
    InvalidSettingsError,
    LedgerFullError,
    NoServerError,
    OutcomeTimeoutError,
    StoplineError,
    UnavailableError,
    UnknownRequestError,
)
from stopline.settings import Settings

__all__ = [
    "AsyncStopClient",
    "Batch",
    "CancelResult",
    "DeadLetter",
    "DeadMessage",
    "IdempotencyConflictError",
    "InvalidRequestError",
    "InvalidSettingsError",
    "Lane",
    "LedgerFullError",
    "NoServerError",
    "OpenRequest",
    "Outcome",
    "OutcomeKind",
    "OutcomeTimeoutError",
    "Receipt",
    "ReceiptKind",
    "Refusal",
    "ResumeResult",
    "Settings",
    "State",
    "Status",
    "StopClient",
    "StopRequest",
    "StoplineError",
    "Submitted",
    "UnavailableError",
    "UnknownRequestError",
]
