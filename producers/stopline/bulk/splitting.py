"""A batch as it comes, in blocks of any size: into lines, or into the elements of a JSON array.

Neither holds more than one line, however long somebody makes it. Pure.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final, Protocol

from stopline.contract import REQUEST_BYTES_MAX
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_BYTES_MAX: Final = 2 * REQUEST_BYTES_MAX
"""JSON may write a character in six bytes; no good line is longer than this."""
_KEPT_MAX: Final = LINE_BYTES_MAX + 2
"""Of a line that is too long so much is kept that it can be seen to be."""

Numbered = tuple[int, bytes]
"""A line or an element, and its number; the first is 1."""


class Splitter(Protocol):
    """Takes blocks, and gives what is whole."""

    def feed(self, block: bytes) -> Iterator[Numbered]:
        """What ends in this block."""

    def end(self) -> Iterator[Numbered]:
        """What ends with the last block."""


class LineSplitter:
    """Lines, without their line breaks; of one that is too long only the beginning.

    Args:
        line_bytes_max: what is too long.
    """

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._kept_max = line_bytes_max + 2
        self._number = 0
        self._rest = b""

    def feed(self, block: bytes) -> Iterator[Numbered]:
        """The lines that end in this block."""
        first, *others = block.split(b"\n")
        self._rest += first[: self._kept_max - len(self._rest)]
        for line in others:
            yield self._take()
            self._rest = line[: self._kept_max]

    def end(self) -> Iterator[Numbered]:
        """The last line, where no line break ends it."""
        if self._rest:
            yield self._take()

    def _take(self) -> Numbered:
        self._number += 1
        line, self._rest = self._rest, b""
        return self._number, line


_IN_TEXT: Final = re.compile(rb'["\\]')
_OUTSIDE: Final = re.compile(rb'["\[\]{},]')


class ArraySplitter:
    """The elements of a JSON array.

    Raises:
        InvalidRequestError: what comes is no array; the elements before it were given.
    """

    def __init__(self) -> None:
        self._number = 0
        self._element = bytearray()
        self._depth = 0
        self._in_text = False
        self._skip = 0
        """How many bytes of the next block belong to an escape of the last."""
        self._is_over = False

    def feed(self, block: bytes) -> Iterator[Numbered]:
        """The elements that end in this block."""
        begin, at, self._skip = 0, self._skip, 0
        while found := (_IN_TEXT if self._in_text else _OUTSIDE).search(block, at):
            token, at = found[0], found.end()
            if token == b"\\":
                at += 1
            elif token == b'"':
                self._in_text = not self._in_text
            elif token in b"[{":
                if self._depth == 0:
                    self._open(token, block[begin : at - 1])
                    begin = at
                self._depth += 1
            elif token in b"]}":
                self._close(token)
            if self._ends_element(token):
                self._keep(block[begin : at - 1])
                begin = at
                yield from self._take()
        self._skip = max(0, at - len(block))
        if self._depth > 0:
            self._keep(block[begin:])
        elif block[begin:].strip():
            raise self._stray()

    def end(self) -> Iterator[Numbered]:
        """Nothing: an array has an end of its own."""
        if not self._is_over:
            raise InvalidRequestError("the JSON array does not end")
        yield from ()

    def _open(self, token: bytes, before: bytes) -> None:
        if token != b"[" or self._is_over or before.removeprefix(codecs.BOM_UTF8).strip():
            raise self._stray()

    def _close(self, token: bytes) -> None:
        if self._depth == 0 or (self._depth == 1 and token != b"]"):
            raise self._stray()
        self._depth -= 1
        self._is_over = self._depth == 0

    def _stray(self) -> InvalidRequestError:
        return InvalidRequestError(
            "something follows the JSON array" if self._is_over else "a JSON array is needed"
        )

    def _ends_element(self, token: bytes) -> bool:
        if token == b",":
            return self._depth == 1
        return token in b"]}" and self._depth == 0

    def _keep(self, part: bytes) -> None:
        self._element += part[: max(0, _KEPT_MAX - len(self._element))]

    def _take(self) -> Iterator[Numbered]:
        element = bytes(self._element)
        self._element.clear()
        if not element.strip():
            if self._is_over and self._number == 0:  # []
                return
            raise InvalidRequestError(f"an element is missing after number {self._number}")
        self._number += 1
        yield self._number, element
