"""Standard input: a JSON document a line."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import IO, TYPE_CHECKING, Final

from stopline.bulk.splitting import LineSplitter
from stopline.contract import new_request_id
from stopline.errors import InvalidRequestError
from stopline_events.sources.port import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCK: Final = 1 << 16
_AHEAD_MAX: Final = 4
"""Blocks that are read before they are asked for."""
_LINE_BYTES_MAX: Final = 1 << 20


class StandardInput:
    """Lines of a file, in the order of their numbers.

    A thread reads, since a loop cannot wait for a file; it ends with the process.
    """

    name = "stdin"

    def __init__(self, file: IO[bytes]) -> None:
        self.identity = f"stdin {new_request_id()}"
        """Line 7 of the next run is another one."""
        self._file = file
        self._blocks: asyncio.Queue[bytes | OSError] = asyncio.Queue(_AHEAD_MAX)
        self._splitter = LineSplitter(_LINE_BYTES_MAX)
        self._lines: list[Message] = []
        self._has_ended = False
        self._reader: threading.Thread | None = None

    @property
    def is_over(self) -> bool:
        """Whether every line was given."""
        return self._has_ended and not self._lines

    async def open(self) -> None:
        """Begin to read."""
        if self._reader is None:
            loop = asyncio.get_running_loop()
            self._reader = threading.Thread(target=self._read, args=(loop,), daemon=True)
            self._reader.start()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        block: bytes | OSError = b"first"
        while block and not isinstance(block, OSError):
            try:
                # Not through its buffer, whose lock a thread that waits would hold at the end.
                block = os.read(self._file.fileno(), _BLOCK)
            except OSError as error:
                block = error
            try:
                asyncio.run_coroutine_threadsafe(self._blocks.put(block), loop).result()
            except RuntimeError:  # the loop has ended
                return

    async def read(self, count: int, wait_s: float) -> Sequence[Message]:
        """Lines that came.

        Raises:
            InvalidRequestError: the file cannot be read any further.
        """
        if not self._lines and not self._has_ended:
            try:
                async with asyncio.timeout(wait_s):
                    block = await self._blocks.get()
            except TimeoutError:
                return ()
            if isinstance(block, OSError):
                raise InvalidRequestError(f"stdin cannot be read: {block.strerror}")
            self._has_ended = not block
            found = self._splitter.feed(block) if block else self._splitter.end()
            self._lines += [_message(number, raw) for number, raw in found if raw.strip()]
        some, self._lines = self._lines[:count], self._lines[count:]
        return some

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """There is nobody to tell."""

    async def give_back(self, messages: Sequence[Message]) -> None:
        """Give them again."""
        self._lines = [*messages, *self._lines]

    async def lag(self) -> int | None:
        """Nobody knows how much will come."""
        return None

    async def close(self) -> None:
        """There is nothing to close."""


def _message(number: int, raw: bytes) -> Message:
    is_long = len(raw) > _LINE_BYTES_MAX
    problem = f"longer than {_LINE_BYTES_MAX} bytes" if is_long else None
    return Message(f"line {number}", raw, problem=problem)
