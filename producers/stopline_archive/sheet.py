"""Outcomes as rows of CSV, for who takes them elsewhere. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stopline.texts import csv_row

if TYPE_CHECKING:
    from stopline.contract import Outcome

COLUMNS: Final = (
    "finished_at",
    "request_id",
    "user_id",
    "task_id",
    "sub_user_id",
    "outcome",
    "detail",
    "source",
    "reason",
    "lane",
    "batch_id",
    "accepted_at",
    "issued_at",
    "attempts",
    "satisfied_by",
    "stopped_before",
    "redrive_of",
    "verified",
)


_TEXTS: Final = ("detail", "source", "reason")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def head() -> str:
    """The first line."""
    return csv_row(COLUMNS)


def row(one: Outcome) -> str:
    """An outcome; an empty cell is null, and `attempts` says how many there were."""
    document = {**one.to_json(), "attempts": len(one.attempts)}
    return csv_row(_cell(name, document.get(name)) for name in COLUMNS)


def _cell(name: str, value: object) -> str:
    text = "" if value is None else str(value)
    # What somebody wrote must not be a formula in whoever's spreadsheet (OWASP, CSV injection).
    is_formula = name in _TEXTS and text.startswith(_FORMULA)
    return f"'{text}" if is_formula else text
