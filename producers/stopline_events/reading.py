"""From a message of a stream to what is to be done. Pure.

A message is a CloudEvent (structured, or binary with its attributes in headers), or the fields of a
stop request: a JSON object without `specversion`, or a stream's own fields.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from stopline.contract import (
    NAME_CHARACTERS_MAX,
    StopRequest,
    junk_of,
    junk_text,
    parse_json,
    rfc3339,
    short_key,
)
from stopline.contract.junk import HEADER_BYTES_MAX
from stopline.errors import InvalidRequestError
from stopline_events import cloud_events
from stopline_events.decisions import Decides, Decision, Stop

if TYPE_CHECKING:
    from stopline.contract import Junk
    from stopline_events.sources.port import Message, Source


def decision_of(message: Message, source: Source, policy: Decides) -> Decision:
    """What a message asks for.

    Where it has no key of its own, the place where it stands is its key.

    Raises:
        InvalidRequestError: it is neither an event nor a stop request.
    """
    if message.problem is not None:
        raise InvalidRequestError(message.problem)
    if cloud_events.is_event(message.headers):
        event = cloud_events.parse_binary(message.headers, message.content_type, message.body)
        return policy.decide(event, arrived_at=message.arrived_at)
    fields = _fields(message)
    if "specversion" in fields:
        event = cloud_events.event_of(fields)
        return policy.decide(event, arrived_at=message.arrived_at)
    return Stop(_request(message, fields, source))


def _fields(message: Message) -> dict[str, Any]:
    if message.fields is not None:
        return dict(message.fields)
    fields = parse_json(message.body)
    if not isinstance(fields, dict):
        raise InvalidRequestError("neither an event nor a stop request: a JSON object is needed")
    return fields


def _request(message: Message, fields: dict[str, Any], source: Source) -> StopRequest:
    defaults: dict[str, Any] = {"source": source.name[:NAME_CHARACTERS_MAX]}
    if not fields.get("request_id"):
        defaults["idempotency_key"] = key_of(message, source)
    if message.arrived_at is not None:
        defaults["issued_at"] = message.arrived_at
    given = {name: value for name, value in fields.items() if value is not None}
    return StopRequest.parse({**defaults, **given})


def key_of(message: Message, source: Source) -> str:
    """The idempotency key of a place in a stream.

    With the time: a stream that was deleted and made again counts from the beginning.
    """
    at = "" if message.arrived_at is None else f" {rfc3339(message.arrived_at)}"
    return short_key(f"{source.identity} {message.position}{at}")


def junk_from(message: Message, source: Source, reason: str) -> Junk:
    """A message for the quarantine: the same one each time, by where it stands."""
    headers = dict(message.headers) | (message.fields or {})
    digest = hashlib.sha256(key_of(message, source).encode()).hexdigest()[:32]
    shown = _shown(headers)
    is_whole = len(shown) == len(headers) and message.problem is None
    return junk_of(
        message.body,
        reason,
        origin=f"{source.name}, {message.position}",
        content_type=junk_text(message.content_type or None),
        headers=shown,
        message_id=f"bridge-{digest}",
        truncated=not is_whole,
    )


def _shown(headers: dict[str, str]) -> dict[str, str]:
    """Headers, or fields, as far as there is room for them."""
    shown: dict[str, str] = {}
    left = HEADER_BYTES_MAX
    for name, value in headers.items():
        text = value.encode("utf-8", "backslashreplace").decode()[:1024]
        left -= len(name) + len(text)
        if left < 0:
            break
        shown[name[:NAME_CHARACTERS_MAX]] = text
    return shown
