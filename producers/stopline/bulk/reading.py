"""Reading a batch from a file: line by line, each checked by itself.

Memory does not grow with the file. The default batch id is a hash of the content, and a line's
number is its place in the batch: sending the same file again resumes it and doubles nothing.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any, Final

import orjson

from stopline.bulk.lines import SHOWN_BYTES_MAX, Line, LineError
from stopline.contract import REQUEST_BYTES_MAX, StopRequest
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

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
)
"""What a line may hold; the batch and the request ids are Stopline's to give."""
_REQUIRED: Final = ("user_id", "task_id")
_HEADER_NEEDED: Final = (
    f"a CSV file begins with a header of {', '.join(FIELDS)} (at least {' and '.join(_REQUIRED)})"
)
_LINE_BYTES_MAX: Final = 2 * REQUEST_BYTES_MAX
"""JSON may write a character in six bytes; no good line is longer than this."""
_BLOCK: Final = 1 << 16


class Format(StrEnum):
    """How a file's lines are written."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Scan:
    """What a first look at a file's bytes tells."""

    digest: str
    lines: int
    first_byte: bytes

    @property
    def batch_id(self) -> str:
        """The default batch id: the same content, the same id."""
        return f"bulk-{self.digest[:12]}"


@contextmanager
def seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """The stream, or a temporary copy on disk where it cannot be read twice (a pipe)."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile(prefix="stopline-bulk-") as copy:
        shutil.copyfileobj(stream, copy, _BLOCK)
        copy.seek(0)
        yield copy


def scan(stream: IO[bytes]) -> Scan:
    """Hash and count a file, and rewind it."""
    digest, lines, first, last = hashlib.sha256(), 0, b"", b"\n"
    while block := stream.read(_BLOCK):
        digest.update(block)
        lines += block.count(b"\n")
        first = first or block.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        last = block[-1:]
    stream.seek(0)
    return Scan(digest.hexdigest(), lines + (last != b"\n"), first)


def guess_format(name: str, scanned: Scan) -> Format:
    """The format by the file's name, else by its first character."""
    if name.endswith((".jsonl", ".ndjson")):
        return Format.JSONL
    if name.endswith(".csv"):
        return Format.CSV
    return Format.JSONL if scanned.first_byte in (b"{", b"[") else Format.CSV


def read(
    stream: IO[bytes], how: Format, batch_id: str, defaults: Mapping[str, Any]
) -> Generator[Line | LineError]:
    """Every line of a file, good or bad; empty lines are passed over.

    Args:
        stream: the file.
        how: its format.
        batch_id: of the batch that the lines make.
        defaults: fields for lines that do not have them.

    Raises:
        InvalidRequestError: a CSV file's header is missing or wrong.
    """
    lines = _lines(stream)
    parse = _csv_parser(lines) if how is Format.CSV else _parse_json
    for number, raw in lines:
        if not raw.strip():
            continue
        try:
            if len(raw) > _LINE_BYTES_MAX:
                raise LineError(number, raw, f"longer than {_LINE_BYTES_MAX} bytes")  # noqa: TRY301  # the loop below turns it into a line of its own
            fields = parse(number, raw)
            request = StopRequest.parse({**defaults, **fields, "batch_id": batch_id})
        except LineError as error:
            yield error
        except InvalidRequestError as error:
            reason = str(error).removeprefix(f"{error.field}: ")
            yield LineError(number, raw, reason, error.field)
        else:
            yield Line(number, raw, request)


def _lines(stream: IO[bytes]) -> Generator[tuple[int, bytes]]:
    """Numbered lines; of one that is too long only the beginning is held."""
    number = 0
    while raw := stream.readline(_LINE_BYTES_MAX + 2):
        number += 1
        rest = raw
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(_BLOCK)
        yield number, raw


def _text(number: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise LineError(number, raw, f"no UTF-8 at byte {error.start + 1}") from None


def _parse_json(number: int, raw: bytes) -> dict[str, Any]:
    text = _text(number, raw)
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise LineError(number, raw, f"no JSON: {error.msg} (column {error.colno})") from None
    if not isinstance(fields, dict):
        raise LineError(number, raw, "a JSON object is needed")
    for name in fields:
        if name not in FIELDS:
            raise LineError(number, raw, "this field is unknown", name[:SHOWN_BYTES_MAX])
    return {name: value for name, value in fields.items() if value is not None}


def _csv_parser(lines: Iterator[tuple[int, bytes]]) -> Callable[[int, bytes], dict[str, Any]]:
    columns = _csv_header(next(lines, (1, b"")))

    def parse(number: int, raw: bytes) -> dict[str, Any]:
        values = _csv_row(number, raw)
        if len(values) != len(columns):
            raise LineError(
                number, raw, f"{len(values)} values where the header has {len(columns)}"
            )
        return {name: value for name, value in zip(columns, values, strict=True) if value}

    return parse


def _csv_row(number: int, raw: bytes) -> list[str]:
    try:
        return next(csv.reader([_text(number, raw)], strict=True), [])
    except csv.Error as error:
        raise LineError(number, raw, f"no CSV: {error} (a value ends on its line)") from None


def _csv_header(first: tuple[int, bytes]) -> list[str]:
    number, raw = first
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
