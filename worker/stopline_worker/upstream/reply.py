"""What came of a call: a reply of the API's, or none and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

BODY_BYTES_MAX: Final = 64 * 1024
"""More of a reply's body is not read."""


class Reply(NamedTuple):
    """What the API answered.

    Attributes:
        status: the HTTP status.
        body: the body as it came, up to `BODY_BYTES_MAX`.
        too_large: the body was longer.
        encoded: the body has a content encoding, which was not asked for.
        retry_after: the header, if any.
        date: the `Date` header, if any: the API's clock, which its dates are meant by.
    """

    status: int
    body: bytes = b""
    too_large: bool = False
    encoded: bool = False
    retry_after: str | None = None
    date: str | None = None


class CallErrorKind(StrEnum):
    """Why there was no reply."""

    CONNECT = "connect"
    READ = "read"
    WRITE = "write"
    TLS = "tls"
    PROTOCOL = "protocol"
    PROXY = "proxy"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class NoReply:
    """A call that ended without a reply; `message` names the error for people."""

    kind: CallErrorKind
    message: str
