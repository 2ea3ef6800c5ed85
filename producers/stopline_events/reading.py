"""From a message of a stream to what is to be done. Pure.

A message is a CloudEvent (structured, or binary with its attributes in headers), or the fields of a
stop request: a JSON object without `specversion`, or a stream's own fields.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from stopline.contract import StopRequest, junk_of, parse_json
from stopline.errors import InvalidRequestError
from stopline_events import cloud_events
from stopline_events.decisions import Decision, Stop, decide

if TYPE_CHECKING:
    from stopline.contract import Junk
    from stopline_events.sources.port import Message

_NAME_CHARACTERS_MAX: Final = 200


def decision_of(message: Message, source: str, *, has_key: bool) -> Decision:
    """What a message asks for.

    Args:
        message: the message.
        source: the name of its source, for requests that name none.
        has_key: its position is its idempotency key, where it has no other.

    Raises:
        InvalidRequestError: it is neither an event nor a stop request.
    """
    if cloud_events.is_event(message.headers):
        event = cloud_events.parse_binary(message.headers, message.content_type, message.body)
        return decide(event, arrived_at=message.arrived_at)
    fields = _fields(message)
    if "specversion" in fields:
        return decide(cloud_events.event_of(fields), arrived_at=message.arrived_at)
    return Stop(_request(message, fields, source, has_key=has_key))


def _fields(message: Message) -> dict[str, Any]:
    if message.fields is not None:
        return dict(message.fields)
    fields = parse_json(message.body)
    if not isinstance(fields, dict):
        raise InvalidRequestError("neither an event nor a stop request: a JSON object is needed")
    return fields


def _request(
    message: Message, fields: dict[str, Any], source: str, *, has_key: bool
) -> StopRequest:
    defaults: dict[str, Any] = {"source": source[:_NAME_CHARACTERS_MAX]}
    if has_key and not fields.get("request_id"):
        defaults["idempotency_key"] = key_of(source, message.position)
    if message.arrived_at is not None:
        defaults["issued_at"] = message.arrived_at
    given = {name: value for name, value in fields.items() if value is not None}
    return StopRequest.parse({**defaults, **given})


def key_of(source: str, position: str) -> str:
    """The idempotency key of a position."""
    key = f"{source} {position}"
    if len(key) <= _NAME_CHARACTERS_MAX:
        return key
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def junk_from(message: Message, source: str, reason: str) -> Junk:
    """A message for the quarantine: the same one each time, by where it stands."""
    origin = f"{source}, {message.position}"
    body, headers = message.body, dict(message.headers)
    if message.fields is not None:
        headers |= message.fields
    digest = hashlib.sha256(origin.encode()).hexdigest()[:32]
    return junk_of(
        body,
        reason,
        origin=origin,
        content_type=message.content_type or None,
        headers=_shown(headers),
        message_id=f"bridge-{digest}",
    )


def _shown(headers: dict[str, str]) -> dict[str, str]:
    return {
        name[:_NAME_CHARACTERS_MAX]: value.encode("utf-8", "backslashreplace").decode()[:1024]
        for name, value in headers.items()
    }
