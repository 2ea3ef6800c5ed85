"""The lines of a file, right and wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from stopline.contract import StopRequest

SHOWN_BYTES_MAX: Final = 1024


class LineError(InvalidRequestError):
    """A line that cannot be accepted."""

    def __init__(self, number: int, raw: bytes, reason: str, field: str | None = None) -> None:
        where = f"line {number}, field {field}" if field else f"line {number}"
        super().__init__(f"{where}: {reason}", field=field)
        self.number = number
        self.raw = raw
        self.reason = reason

    def to_json(self) -> bytes:
        """The line of `.rejected.jsonl`."""
        shown = self.raw.rstrip(b"\r\n")[:SHOWN_BYTES_MAX].decode("utf-8", "backslashreplace")
        return orjson.dumps(
            {"line": self.number, "field": self.field, "reason": self.reason, "input": shown},
            option=orjson.OPT_APPEND_NEWLINE,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A line that may be sent; its number is its place in the batch."""

    number: int
    raw: bytes
    request: StopRequest
