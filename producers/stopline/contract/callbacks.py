"""Who wants to be told of an outcome, and how far that is."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints

from stopline.contract.document import Recorded
from stopline.contract.times import Moment

URL_CHARACTERS_MAX: Final = 500
_CHARACTERS: Final = re.compile(r"[!#-\[\]-~]+")
_PORT_MAX: Final = 65_535


def _checked(url: str) -> str:
    """An address that says nothing of who calls it, and that cannot be read in two ways."""
    if not _CHARACTERS.fullmatch(url):
        msg = "printable ASCII is needed, without blanks, quotes and backslashes"
        raise ValueError(msg)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        msg = "this is no URL"
        raise ValueError(msg) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = "a URL with http:// or https:// and a host is needed"
        raise ValueError(msg)
    if parts.username is not None or parts.password is not None:
        msg = "no user and no password are allowed in it: callbacks are signed"
        raise ValueError(msg)
    if parts.fragment or (port is not None and not 0 < port <= _PORT_MAX):
        msg = "no fragment is allowed in it, and ports are 1 to 65535"
        raise ValueError(msg)
    return url


CallbackUrl = Annotated[
    str,
    StringConstraints(max_length=URL_CHARACTERS_MAX),
    AfterValidator(_checked),
]
"""Where an outcome is told: printable ASCII, without quotes and backslashes."""


class Callback(NamedTuple):
    """One outcome for one URL, on its way.

    Attributes:
        callback_id: the same however often it is sent: the receiver tells repetitions by it.
        url: where to.
        body: what is sent, JSON.
        source: whose it is: its secrets sign it.
        attempts: how often it was sent in vain.
        first_at: when it was to be sent first, in microseconds.
    """

    callback_id: str
    url: str
    body: str
    source: str
    attempts: int = 0
    first_at: int = 0


class CallbackView(Recorded):
    """A callback that was not delivered, as people see it."""

    callback_id: str
    url: str
    source: str
    attempts: int = 0
    said: str | None = None
    """What came of the last attempt."""
    died_at: Moment | None = None
    """When it was given up; None: it will be sent again."""


class Callbacks(NamedTuple):
    """How many callbacks wait, and how many were given up."""

    waiting: int = 0
    dead: int = 0
    oldest_s: float | None = None
    """How late the first of those that wait is."""

    def notices(self) -> list[tuple[str, str]]:
        """What people should know: a part and a sentence each."""
        if not self.dead:
            return []
        return [("callbacks", f"{self.dead:,} were given up: 'stopline callbacks dead' lists them")]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return self._asdict()
