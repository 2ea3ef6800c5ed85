"""Which outcomes of the archive are meant, and where a reader of them is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

from stopline.contract import is_identifier
from stopline.errors import InvalidRequestError

_DIGITS_MAX: Final = 18
"""Of a moment in microseconds: what SQL has as a large number has one more."""

if TYPE_CHECKING:
    from datetime import datetime

    from stopline.contract import OutcomeKind


class HistoryFilter(NamedTuple):
    """Which outcomes are meant; None: any.

    Attributes:
        since: ended at or after this moment.
        until: ended before this moment.
    """

    user_id: str | None = None
    task_id: str | None = None
    source: str | None = None
    batch_id: str | None = None
    outcome: OutcomeKind | None = None
    since: datetime | None = None
    until: datetime | None = None


class Place(NamedTuple):
    """Where a reader is, who reads the newest first: behind this row."""

    finished_at: int
    request_id: str

    def __str__(self) -> str:
        return f"{self.finished_at}:{self.request_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The place that `str` gave; raises `InvalidRequestError`."""
        moment, separator, request_id = text.partition(":")
        is_moment = moment.isascii() and moment.isdigit() and len(moment) <= _DIGITS_MAX
        if not (separator and is_moment and is_identifier(request_id)):
            raise InvalidRequestError(
                "cursor: this is none of a page of the archive", field="cursor"
            )
        return cls(int(moment), request_id)
