"""Outcomes that nobody reached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stopline.contract import Lane, Outcome, OutcomeKind

START: Final = datetime(2026, 11, 1, tzinfo=UTC)


def outcome(number: int, **fields: Any) -> Outcome:
    """The number-th outcome: a second later than the one before."""
    at = START + timedelta(seconds=number)
    known: dict[str, Any] = {
        "request_id": f"r{number:08}",
        "user_id": "u",
        "task_id": f"t{number}",
        "lane": Lane.BULK,
        "source": "crm",
        "accepted_at": at,
        "finished_at": at,
        "outcome": OutcomeKind.STOPPED,
        "detail": "The API confirmed the stop.",
    }
    return Outcome.model_validate(known | fields)
