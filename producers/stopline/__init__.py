"""Stopline: reliable task_stop calls, for producers.

`StopClient` and `AsyncStopClient` are the way in. Importing this package loads no HTTP library, and
each name only what it needs: `from stopline.contract import StopRequest` loads no Celery.

    from stopline import StopClient

    with StopClient() as client:
        receipt = client.stop("5832d184", "f232d184", source="budget-guard", reason="over budget")
        outcome = client.wait(receipt.request_id, timeout_s=30)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stopline.client.arguments import StopFields, Submitted
    from stopline.client.async_client import AsyncStopClient
    from stopline.client.sync_client import StopClient
    from stopline.client.verbs import Heartbeats
    from stopline.contract import (
        ApiState,
        Attempt,
        Batch,
        BatchLine,
        CancelResult,
        DeadLetter,
        DeadMessage,
        Heartbeat,
        Join,
        Lane,
        OpenRequest,
        Outcome,
        OutcomeKind,
        ProcessRole,
        Receipt,
        ReceiptKind,
        Refusal,
        RefusalKind,
        ResumeResult,
        State,
        Status,
        StopRequest,
        Target,
        Verdict,
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
    from stopline.settings.model import Durability, Settings
    from stopline.settings.names import SettingsFields

    __version__: str

__all__ = [
    "ApiState",
    "AsyncStopClient",
    "Attempt",
    "Batch",
    "BatchLine",
    "CancelResult",
    "DeadLetter",
    "DeadMessage",
    "Durability",
    "Heartbeat",
    "Heartbeats",
    "IdempotencyConflictError",
    "InvalidRequestError",
    "InvalidSettingsError",
    "Join",
    "Lane",
    "LedgerFullError",
    "NoServerError",
    "OpenRequest",
    "Outcome",
    "OutcomeKind",
    "OutcomeTimeoutError",
    "ProcessRole",
    "Receipt",
    "ReceiptKind",
    "Refusal",
    "RefusalKind",
    "ResumeResult",
    "Settings",
    "SettingsFields",
    "State",
    "Status",
    "StopClient",
    "StopFields",
    "StopRequest",
    "StoplineError",
    "Submitted",
    "Target",
    "UnavailableError",
    "UnknownRequestError",
    "Verdict",
    "__version__",
]

_MODULES: Final = {
    "stopline.client.arguments": {"StopFields", "Submitted"},
    "stopline.client.async_client": {"AsyncStopClient"},
    "stopline.client.sync_client": {"StopClient"},
    "stopline.settings.names": {"SettingsFields"},
    "stopline.settings.model": {"Durability", "Settings"},
    "stopline.client.verbs": {"Heartbeats"},
}
"""Where names are that stand in neither `contract` nor `errors`."""


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for (PEP 562)."""
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("stopline")
    elif name in __all__:
        value = getattr(import_module(_module_of(name)), name)
    else:
        raise AttributeError(f"module 'stopline' has no attribute {name!r}")
    globals()[name] = value
    return value


def _module_of(name: str) -> str:
    for module, names in _MODULES.items():
        if name in names:
            return module
    return "stopline.errors" if name.endswith("Error") else "stopline.contract"


def __dir__() -> list[str]:
    return sorted(__all__)
