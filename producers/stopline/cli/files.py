"""Files of lines that commands are given: a path, or - for stdin."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from stopline.bulk import reading
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN: Final = "-"


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """Open a file; raises `InvalidRequestError`."""
    if name == STDIN:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(name).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise InvalidRequestError(f"cannot read {name}: {error.strerror}") from None
    with stream:
        if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode) and not stream.isatty():
            raise InvalidRequestError(f"cannot read {name}: it is a device")
        yield stream


def scan(name: str, stream: IO[bytes]) -> reading.Scan:
    """Look at the bytes of a file, and rewind it; raises `InvalidRequestError`."""
    try:
        return reading.scan(stream)
    except OSError as error:
        raise InvalidRequestError(f"cannot read {name}: {error.strerror}") from None
