"""Messages that nobody can handle, on their way into the quarantine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from stopline.contract.names import new_request_id

BODY_BYTES_MAX: Final = 64 * 1024
HEADER_BYTES_MAX: Final = 8 * 1024
_REASON_CHARACTERS_MAX: Final = 200
_TEXT_CHARACTERS_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Junk:
    """A message that no worker can handle, as it is to be kept: see `contract.DeadMessage`."""

    message_id: str
    reason: str
    body: bytes
    truncated: bool = False
    queue: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] | None = None
    origin: str | None = None
    """Where it stands in a stream, if it is from one: there it stays."""


def junk_of(
    body: bytes,
    reason: str,
    *,
    message_id: str | None = None,
    queue: object = None,
    truncated: bool = False,
    **fields: Any,
) -> Junk:
    """A body to be kept, cut off at the cap; kept again under its id, it takes its own place."""
    return Junk(
        message_id or new_request_id(),
        str(junk_text(reason, _REASON_CHARACTERS_MAX)),
        body[:BODY_BYTES_MAX],
        queue=junk_text(queue),
        truncated=truncated or len(body) > BODY_BYTES_MAX,
        **fields,
    )


def junk_text(value: object, longest: int = _TEXT_CHARACTERS_MAX) -> str | None:
    """Text that any JSON can hold, without lone surrogates, cut."""
    if not isinstance(value, str):
        return None
    return value[:longest].encode("utf-8", "replace").decode()


def plain_headers(headers: object) -> dict[str, Any] | None:
    """The headers if they are small and of JSON, else None: then the message is kept in part."""
    if not isinstance(headers, dict):
        return None
    try:
        size = len(orjson.dumps(headers))
    except (TypeError, ValueError, RecursionError):
        return None
    return headers if size <= HEADER_BYTES_MAX else None
