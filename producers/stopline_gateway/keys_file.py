"""The file of keys: read at the start, and again when it changes."""

from __future__ import annotations

import logging
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from stopline.errors import InvalidRequestError, InvalidSettingsError
from stopline.settings.secret_files import is_somebody_elses, others_may_write
from stopline_gateway.keys import NOBODY, KeyLine, id_of
from stopline_gateway.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logging.getLogger(__name__)
LOOK_S: Final = 1.0
_BYTES_MAX: Final = 16 << 20
_WRITABLE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

Keys = dict[str, KeyLine]


def read_keys(path: Path) -> Keys:
    """The keys in a file, by id; empty lines and those that begin with # are passed over.

    Raises:
        InvalidSettingsError: it cannot be read, somebody else may write it, or a line is wrong.
    """
    where = f"{PREFIX}KEYS_FILE"
    try:
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
            found = os.fstat(file.fileno())
    except OSError as error:
        raise InvalidSettingsError(f"{where}: cannot read {path}: {error.strerror}") from None
    # What nobody may write was put there on purpose, whoever's it is: container platforms do so.
    if found.st_mode & _WRITABLE and (is_somebody_elses(found) or others_may_write(found)):
        raise InvalidSettingsError(
            f"{where}: {path} can be written by others, who could give themselves keys. Make it "
            "yours (chown, chmod go-w)."
        )
    if len(raw) > _BYTES_MAX:
        raise InvalidSettingsError(f"{where}: {path} has more than {_BYTES_MAX} bytes")
    keys: Keys = {}
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            key = KeyLine.parse(line)
        except InvalidRequestError as error:
            raise InvalidSettingsError(f"{where}: {path}, line {number}: {error}") from None
        if key.id in keys:
            raise InvalidSettingsError(
                f"{where}: {path}, line {number}: id {key.id} is there twice"
            )
        keys[key.id] = key
    return keys


class KeysFile:
    """The keys of a file as it is now; one that is wrong leaves those of before.

    Raises:
        InvalidSettingsError: it is wrong at the start.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen = _stamp(path)
        self.keys = read_keys(path)
        self._look_at = clock() + LOOK_S
        self._told = ""

    def find(self, key: str) -> KeyLine | None:
        """The line of a key; None where there is none."""
        self.look()
        line = self.keys.get(id_of(key) or "", NOBODY)
        return line if line.is_of(key) and line is not NOBODY else None

    def has(self, key_id: str | None) -> bool:
        """Whether there is still a key of this id."""
        return self.line(key_id) is not None

    def line(self, key_id: str | None) -> KeyLine | None:
        """The line of the key of an id; None where there is none."""
        self.look()
        return self.keys.get(key_id or "")

    @property
    def is_current(self) -> bool:
        """Whether the keys are those of the file as it was when it was looked at last."""
        return not self._told

    def look(self) -> None:
        """Read the file again if it changed, at most once a second."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_S
        stamp = _stamp(self._path)
        if stamp is not None and stamp == self._seen:
            return
        self._seen = None  # as long as it is wrong, it is looked at again
        try:
            self.keys = read_keys(self._path)
        except InvalidSettingsError as error:
            self._tell(str(error))
        else:
            self._seen, self._told = stamp, ""
            _log.info("%d keys read again", len(self.keys), extra={"action": "keys_read"})

    def _tell(self, wrong: str) -> None:
        """Say what is wrong, once as long as it stays the same."""
        if wrong != self._told:
            _log.error("%s: the keys of before stay", wrong, extra={"action": "keys_refused"})
        self._told = wrong


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    """What changes with a file; None while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
