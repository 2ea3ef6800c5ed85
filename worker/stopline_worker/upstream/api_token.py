"""The API token: one object holds it, and nothing that prints shows it."""

from __future__ import annotations

import html
import logging
import re
import threading
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, unquote

import orjson

from stopline.errors import InvalidSettingsError
from stopline.settings.names import API_TOKEN_FILE
from stopline.settings.secret_files import read_secret

if TYPE_CHECKING:
    from pathlib import Path

    from stopline.settings.model import Settings

_log = logging.getLogger(__name__)
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""What may stand in a header without changing it: visible ASCII."""


_RUN: Final = 8
_LOOKED_AT: Final = 4096
"""More of a text is not recorded: messages are cut to 200 characters."""
_UNICODE_ESCAPE: Final = re.compile(r"\\u00([0-9a-f]{2})", re.IGNORECASE)


def _plain(text: str) -> str:
    """Text without the ways in which the same characters may be written."""
    unescaped = _UNICODE_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    unquoted = html.unescape(unquote(unescaped)).replace("\\", "")
    return "".join(one for one in unquoted.casefold() if "!" <= one <= "~")


class Credential:
    """The token as one call uses it: what is recorded of that call is redacted by the same one."""

    __slots__ = ("_echoes", "_runs", "_shortest", "authorization")

    def __init__(self, token: str) -> None:
        self.authorization = f"Bearer {token}"
        """The value of the Authorization header."""
        escaped = orjson.dumps(token).decode()[1:-1]
        forms = {
            token,
            escaped,
            escaped.replace("/", r"\/"),
            quote(token),
            quote(token, safe=""),
            html.escape(token),
        }
        longest_first = sorted(forms, key=len, reverse=True)
        echoes = "|".join(re.escape(form) for form in longest_first)
        self._echoes = re.compile(echoes, re.IGNORECASE)
        self._shortest = min(len(token), _RUN)
        """A shorter text holds neither the token nor a run of it."""
        plain = _plain(token)
        self._runs = frozenset(plain[at : at + _RUN] for at in range(len(plain) - _RUN + 1))

    def redact(self, text: str) -> str:
        """The text without the token, as it is or escaped for JSON, an address, or HTML.

        Where a part of the token is left, eight characters or more (APIs cut what they repeat), or
        escaped in another way, nothing of the text is.
        """
        if len(text) < self._shortest:
            return text
        redacted = self._echoes.sub("***", text)
        return "***" if self._runs and self._shows_a_part(redacted) else redacted

    def _shows_a_part(self, text: str) -> bool:
        """Whether a run of the token's characters is left, in some disguise."""
        plain = _plain(text[:_LOOKED_AT])
        return any(plain[at : at + _RUN] in self._runs for at in range(len(plain) - _RUN + 1))

    def __repr__(self) -> str:
        return "Credential(***)"


class ApiToken:
    """The bearer token, read again from its file when the API refuses it."""

    __slots__ = ("_path", "_reading", "_value", "credential")

    def __init__(self, value: str, path: Path | None = None) -> None:
        self._value = _checked(value)
        self._path = path
        self._reading = threading.Lock()
        self.credential = Credential(self._value)
        """The token as it is now, for one call."""

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
            return cls(read_secret(path, API_TOKEN_FILE), path)
        raise InvalidSettingsError(
            "No API token: set STOPLINE_API_TOKEN, or STOPLINE_API_TOKEN_FILE to a file with it."
        )

    def reread(self) -> None:
        """Have the file read again, if there is one; returns at once.

        A thread reads it: on a mount that hangs it would hold up every call in flight. While one
        reads, nobody else needs to.
        """
        if self._path is None or not self._reading.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._read, name="stopline-token", daemon=True).start()
        except RuntimeError as error:  # no threads left: the next refusal tries again
            self._reading.release()
            _log.warning("token not read: %s", error, extra={"action": "token_unreadable"})

    def _read(self) -> None:
        """An unreadable file keeps the old token: it may be half way through its rotation."""
        try:
            assert self._path is not None  # noqa: S101  # else nobody began to read
            value = _checked(read_secret(self._path, API_TOKEN_FILE))
        except InvalidSettingsError as error:
            _log.warning("%s", error, extra={"action": "token_unreadable"})
            return
        finally:
            self._reading.release()
        if value != self._value:
            self._value, self.credential = value, Credential(value)
            _log.info("the API token was rotated", extra={"action": "token_rotated"})

    def __repr__(self) -> str:
        return "ApiToken(***)"


def _checked(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise InvalidSettingsError(
            "The API token must be visible ASCII without spaces (STOPLINE_API_TOKEN)."
        )
    return value
