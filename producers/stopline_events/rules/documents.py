"""Rules as they stand in a file."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from stopline.contract import Document

RULES_MAX: Final = 500


def _as_written(value: object) -> object:
    """In YAML `true` and `1` are no texts, and expressions all the same."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[
    str, StringConstraints(min_length=1, strip_whitespace=True), BeforeValidator(_as_written)
]
"""An expression."""


class StopAction(Document):
    """Expressions for the fields of a stop request."""

    user_id: Text
    task_id: Text
    sub_user_id: Text | None = None
    lane: Text | None = None
    reason: Text | None = None
    issued_at: Text | None = None
    not_after: Text | None = None


class ResumeAction(Document):
    """Expressions for a task that was resumed; `at` is the event's time if left out."""

    user_id: Text
    task_id: Text
    sub_user_id: Text | None = None
    at: Text | None = None


class Rule(Document):
    """When what is to be done.

    Attributes:
        name: in records it is the source `policy:<name>`.
        when: a condition over `event`.
        stop: a task is to be stopped.
        resume: a task was resumed.
        also: whether the rules behind this one are looked at as well.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
    when: Text
    stop: StopAction | None = None
    resume: ResumeAction | None = None
    also: bool = False

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.stop is None) == (self.resume is None):
            msg = "give stop or resume, one of them"
            raise ValueError(msg)
        return self
