"""The port to a language of expressions: what rules need of one, and no more."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Wanted(StrEnum):
    """What an expression is to give."""

    CONDITION = "true or false"
    TEXT = "a text"
    MOMENT = "a time"
    FIELDS = "fields"


class ExpressionError(Exception):
    """An expression cannot be used: what is wrong, and where in its text (both from 1)."""

    def __init__(self, reason: str, line: int = 1, column: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


class EvaluationError(Exception):
    """An expression gives nothing for an event; the message is for people."""


class Bound(Protocol):
    """An event as expressions see it."""


class Expression(Protocol):
    """An expression that was checked."""

    def evaluate(self, event: Any) -> Any:
        """Its value for a bound event; raises `EvaluationError`."""


class Language(Protocol):
    """A language of expressions over `event`."""

    def compile(self, text: str, wanted: Wanted) -> Expression:
        """Check an expression; raises `ExpressionError`."""

    def bind(self, event: Mapping[str, Any]) -> Bound:
        """An event for any number of expressions."""
