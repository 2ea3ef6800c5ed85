"""Reading a batch from a file: line by line, each checked by itself.

Memory does not grow with the file. The default batch id is a hash of the content, and a line's
number is its place in the batch: sending the same file again resumes it and doubles nothing.
"""

from __future__ import annotations

import codecs
import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any, Final

from stopline.bulk.lines import Line, LineError
from stopline.bulk.parsing import CsvParser, parse_json_line
from stopline.bulk.splitting import LINE_BYTES_MAX, ArraySplitter, LineSplitter
from stopline.contract import StopRequest
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from stopline.bulk.splitting import Numbered, Splitter

    Parse = Callable[[int, bytes], dict[str, Any]]

_BLOCK: Final = 1 << 16


class Format(StrEnum):
    """How a file's lines are written."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    """One array."""


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
    return {b"{": Format.JSONL, b"[": Format.JSON}.get(scanned.first_byte, Format.CSV)


class BatchReader:
    """Reads a batch as it comes, in blocks of any size: every line, good or bad.

    Empty lines are passed over. A line's number is its place in the batch.

    Args:
        how: how the lines are written.
        batch_id: of the batch that they make.
        defaults: fields for lines that do not have them.

    Raises (from `feed` and `end`):
        InvalidRequestError: a CSV file's header is missing or wrong, or an array is none.
    """

    def __init__(self, how: Format, batch_id: str, defaults: Mapping[str, Any]) -> None:
        self._splitter: Splitter = ArraySplitter() if how is Format.JSON else LineSplitter()
        self._parse: Parse | None = None if how is Format.CSV else parse_json_line
        self._batch_id = batch_id
        self._defaults = defaults

    @property
    def batch_id(self) -> str:
        """Of the batch that the lines make."""
        return self._batch_id

    def feed(self, block: bytes) -> Generator[Line | LineError]:
        """The lines that end in this block."""
        yield from self._read(self._splitter.feed(block))

    def end(self) -> Generator[Line | LineError]:
        """The last line, where nothing ends it."""
        yield from self._read(self._splitter.end())
        if self._parse is None:
            CsvParser(1, b"")  # says that a header is needed

    def _read(self, lines: Iterator[Numbered]) -> Generator[Line | LineError]:
        for number, raw in lines:
            if self._parse is None:
                self._parse = CsvParser(number, raw).parse
            elif raw.strip():
                yield self._line(self._parse, number, raw)

    def _line(self, parse: Parse, number: int, raw: bytes) -> Line | LineError:
        if len(raw) > LINE_BYTES_MAX:
            return LineError(number, raw, f"longer than {LINE_BYTES_MAX} bytes")
        try:
            fields = parse(number, raw)
            request = StopRequest.parse({**self._defaults, **fields, "batch_id": self._batch_id})
        except LineError as error:
            return error
        except InvalidRequestError as error:
            reason = str(error).removeprefix(f"{error.field}: ")
            return LineError(number, raw, reason, error.field)
        return Line(number, raw, request)


def read(
    stream: IO[bytes], how: Format, batch_id: str, defaults: Mapping[str, Any]
) -> Generator[Line | LineError]:
    """Every line of a file: see `BatchReader`."""
    reader = BatchReader(how, batch_id, defaults)
    while block := stream.read(_BLOCK):
        yield from reader.feed(block)
    yield from reader.end()
