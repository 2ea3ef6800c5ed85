"""Where refused lines go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path

    from stopline.bulk.lines import LineError


class RejectedFile:
    """Where refused lines are written; there is a file in the end only if there were some.

    It is made beside its place before anything is sent, and takes that at the end, so what stood
    there before is whole until then. A place that is no file (a pipe, `/dev/null`) is written to.

    Args:
        path: the place.
        is_named: somebody named it; else an earlier run may have left one of ours there, which goes
            when no line was refused this time.
        source: the file that the lines are read from, which it must not be.

    Raises:
        InvalidRequestError: it cannot be written.
    """

    def __init__(self, path: Path, *, is_named: bool, source: Path | None = None) -> None:
        self.path = path
        self._is_named = is_named
        self._lines = 0
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise InvalidRequestError(
                f"{path} is the file to be sent; name another with --rejected"
            )
        self._is_special = path.exists() and not path.is_file()
        self._part = path if self._is_special else path.with_name(f"{path.name}.part")
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise InvalidRequestError(
                f"cannot write {path}, where refused lines go: {error.strerror}; nothing was sent. "
                "Name another place with --rejected FILE."
            ) from None

    def write(self, error: LineError) -> None:
        """Add a line."""
        self._lines += 1
        self._file.write(error.to_json())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._is_special:
            return
        if self._lines:
            self._part.replace(self.path)
            return
        self._part.unlink(missing_ok=True)
        if not self._is_named:
            self.path.unlink(missing_ok=True)
