"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from stopline.contract import is_identifier
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.waiting import WAIT_S_MAX

RequestId = Annotated[str, Path(description="The `request_id` of a receipt.")]
BatchId = Annotated[str, Path(description="The id of a batch.")]
Only = Annotated[str | None, Query(max_length=200, description="Only these.")]
WaitS = Annotated[
    float,
    Query(
        ge=0,
        le=WAIT_S_MAX,
        allow_inf_nan=False,
        description="Wait so many seconds for the outcome; then the status is the answer.",
    ),
]


def known_form(value: str, what: str) -> str:
    """An id from a path; raises `Problem` for what can be none: there is no such thing."""
    if not is_identifier(value):
        raise Problem(Kind.NOT_FOUND, f"There is no such {what}.")
    return value
