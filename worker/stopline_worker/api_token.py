"""The API token: one object holds it, and nothing that prints shows it."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final, Self

from stopline.errors import InvalidSettingsError
from stopline.settings import Settings, read_secret

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""What may stand in a header without changing it: visible ASCII."""
_FILE_VARIABLE: Final = "STOPLINE_API_TOKEN_FILE"


class ApiToken:
    """The bearer token, read again from its file when the API refuses it."""

    __slots__ = ("_path", "_value")

    def __init__(self, value: str, path: Path | None = None) -> None:
        self._value = _checked(value)
        self._path = path

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The configured token.

        Raises:
            InvalidSettingsError: there is none, or it is malformed.
        """
        if settings.api_token is not None:
            return cls(settings.api_token.get_secret_value())
        if settings.api_token_file is not None:
            path = settings.api_token_file
            return cls(read_secret(path, _FILE_VARIABLE), path)
        raise InvalidSettingsError(
            "No API token: set STOPLINE_API_TOKEN, or STOPLINE_API_TOKEN_FILE to a file with it."
        )

    def authorization(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self._value}"

    def reread(self) -> bool:
        """Read the file again, if there is one.

        Returns:
            Whether the token changed. An unreadable file keeps the old token: it may be half way
            through its rotation.
        """
        if self._path is None:
            return False
        try:
            value = _checked(read_secret(self._path, _FILE_VARIABLE))
        except InvalidSettingsError as error:
            _log.warning("%s", error, extra={"action": "token_unreadable"})
            return False
        changed = value != self._value
        self._value = value
        return changed

    def redact(self, text: str) -> str:
        """The text without the token, should the API have echoed it."""
        return text.replace(self._value, "***")

    def __repr__(self) -> str:
        return "ApiToken(***)"


def _checked(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise InvalidSettingsError(
            "The API token must be visible ASCII without spaces (STOPLINE_API_TOKEN)."
        )
    return value
