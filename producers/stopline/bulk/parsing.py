"""What stands in one line of a batch: JSON, or CSV under a header. Pure."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from stopline.bulk.lines import SHOWN_BYTES_MAX, LineError
from stopline.contract import parse_json
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS: Final = (
    "user_id",
    "task_id",
    "sub_user_id",
    "lane",
    "source",
    "reason",
    "issued_at",
    "not_after",
    "idempotency_key",
    "callback_url",
)
"""What a line may hold; the batch and the request ids are Stopline's to give."""
_REQUIRED: Final = ("user_id", "task_id")
_HEADER_NEEDED: Final = (
    f"a CSV file begins with a header of {', '.join(FIELDS)} (at least {' and '.join(_REQUIRED)})"
)
_BOM: Final = b"\xef\xbb\xbf"


def parse_json_line(number: int, raw: bytes) -> dict[str, Any]:
    """The fields in a line of JSON; raises `LineError`."""
    try:
        fields = parse_json(raw.removeprefix(_BOM) if number == 1 else raw)
    except InvalidRequestError as error:
        raise LineError(number, raw, str(error), error.field) from None
    if not isinstance(fields, dict):
        raise LineError(number, raw, "a JSON object is needed")
    for name in fields:
        if name not in FIELDS:
            raise LineError(number, raw, "this field is unknown", name[:SHOWN_BYTES_MAX])
    return {name: value for name, value in fields.items() if value is not None}


class CsvParser:
    """Lines of CSV under a header, which is the first line.

    Raises:
        InvalidRequestError: the header is missing or wrong.
    """

    def __init__(self, number: int, raw: bytes) -> None:
        self._columns = _csv_header(number, raw)

    def parse(self, number: int, raw: bytes) -> dict[str, Any]:
        """The fields in a line; raises `LineError`."""
        values, columns = _csv_row(number, raw), self._columns
        if len(values) != len(columns):
            raise LineError(
                number, raw, f"{len(values)} values where the header has {len(columns)}"
            )
        return {name: value for name, value in zip(columns, values, strict=True) if value}


def _text(number: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise LineError(number, raw, f"no UTF-8 at byte {error.start + 1}") from None


def _csv_row(number: int, raw: bytes) -> list[str]:
    try:
        return next(csv.reader([_text(number, raw)], strict=True), [])
    except csv.Error as error:
        raise LineError(number, raw, f"no CSV: {error} (a value ends on its line)") from None


def _csv_header(number: int, raw: bytes) -> list[str]:
    if not _text(number, raw).strip():
        raise InvalidRequestError(f"line 1: it is empty; {_HEADER_NEEDED}")
    columns = [name.strip() for name in _csv_row(number, raw)]
    for problem in (
        *_wrong_delimiter(columns),
        *(f"the column {name} is missing" for name in _REQUIRED if name not in columns),
        *(f"the column {name!r} is unknown" for name in columns if name not in FIELDS),
        *(f"the column {name} is there twice" for name, n in Counter(columns).items() if n > 1),
    ):
        raise InvalidRequestError(f"line 1: {problem}; {_HEADER_NEEDED}")
    return columns


def _wrong_delimiter(columns: list[str]) -> Iterator[str]:
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(columns) == 1 and delimiter in columns[0]:
            yield f"its columns are separated by {name}, and commas are needed"
