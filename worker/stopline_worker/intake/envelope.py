"""What of a sender's message counts: a short list, each with its type and its bounds. Pure.

A queue takes messages from anybody who can reach it, and kombu and Celery act on what stands in
them: they decompress and decode, note a message under the tag that it names, put it back where it
says, call what it links to, and give its time limits to their processes. Here nobody does. Of the
entry of a Redis queue (kombu's envelope) and of Celery's task message in it (protocol 2,
https://docs.celeryq.dev/en/stable/internals/protocol.html) we read what is on a list; what is on
it and wrong makes the message one for the quarantine.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

BODY_BYTES_MAX: Final = 1024 * 1024
"""A message of 250 ids has 10 KB, a stop request at most 8."""
ENTRY_BYTES_MAX: Final = 4 * BODY_BYTES_MAX
"""A body in base64, and its headers."""
DEPTH_MAX: Final = 32
"""A body that is right nests five deep. Parsers recurse, and each gives up elsewhere."""
ENTRY_DEPTH_MAX: Final = 64
_TEXT_MAX: Final = 255
_REPR_MAX: Final = 1024
_MOMENT_MAX: Final = 64
_COUNT_MAX: Final = 1_000_000
_TEXT_ENCODINGS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
"""Python knows others that expand what they decode (zlib, bz2)."""


class MalformedError(ValueError):
    """A message that cannot be handled; the text says why, as the end of a sentence about it."""


def check_entry_text(text: bytes | str) -> None:
    """Look at the JSON of a queue's entry before it is parsed.

    Raises:
        MalformedError: it is longer or nests deeper than anything that may be right.
    """
    if len(text) > ENTRY_BYTES_MAX:
        raise MalformedError(f"is longer than {ENTRY_BYTES_MAX} bytes")
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if _nests_deeper(raw, ENTRY_DEPTH_MAX):
        raise MalformedError(f"nests more than {ENTRY_DEPTH_MAX} deep")


def _nests_deeper(raw: bytes, limit: int) -> bool:
    """Whether JSON nests deeper than a limit; looks at it without parsing it."""
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return False
    depth, in_string, escaped = 0, False, False
    for one in raw.decode("latin-1"):  # what matters here is ASCII
        if in_string:
            in_string = escaped or one != '"'
            escaped = one == "\\" and not escaped
        elif one == '"':
            in_string = True
        elif one in "[{":
            depth += 1
            if depth > limit:
                return True
        elif one in "]}":
            depth -= 1
    return False


class Opened(NamedTuple):
    """What a queue's entry has in it."""

    body: bytes
    headers: Any
    content_type: object
    content_encoding: object


def parsed(text: bytes) -> Any:
    """The JSON of a queue's entry.

    Raises:
        MalformedError: it is none, or longer or deeper than anything that may be right.
    """
    check_entry_text(text)
    try:
        return _from_json(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"is no JSON ({type(error).__name__})") from None


def _from_json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:  # it knows no lone surrogates and no integers beyond 64 bits, as JSON does
        return json.loads(text)


def opened(message: Any) -> Opened:
    """An entry of a Redis queue as kombu's virtual transports write it; nothing is decompressed.

    Raises:
        MalformedError: it is none.
    """
    match message:
        case {"body": str(body), "headers": dict(headers), "properties": dict(properties)}:
            pass
        case _:
            raise MalformedError("is no message of kombu's")
    raw = _decoded(body, properties.get("body_encoding"))
    return Opened(raw, headers, message.get("content-type"), message.get("content-encoding"))


def _decoded(body: str, encoding: object) -> bytes:
    if len(body) > 2 * BODY_BYTES_MAX:
        raise MalformedError(f"has a body of more than {2 * BODY_BYTES_MAX} characters")
    if encoding is None:
        return body.encode("utf-8", "surrogatepass")
    if encoding != "base64":
        raise MalformedError("has an unknown body encoding")
    try:
        return base64.b64decode(body)
    except ValueError:
        raise MalformedError("has a body that is no base64") from None


class TaskMessage(NamedTuple):
    """A task message, with what counts of it. Times are aware."""

    task: str
    id: str
    args: list[Any]
    kwargs: dict[str, Any]
    eta: datetime | None
    expires: datetime | None
    about: dict[str, Any]
    """What is only shown: in events, and to who inspects."""


def task_message(
    headers: Any, body: bytes | str, content_type: object, content_encoding: object
) -> TaskMessage:
    """What counts of a task message: no limits of its sender's, and nothing that it links to.

    Raises:
        MalformedError: it is none.
    """
    if not isinstance(headers, dict) or (task := _text(headers, "task")) is None:
        raise MalformedError("is no Celery task message: its headers name no task")
    if (task_id := _text(headers, "id")) is None:
        raise MalformedError("is no Celery task message: its headers have no id")
    eta, expires = _moment(headers, "eta"), _moment(headers, "expires")
    args, kwargs = _arguments(body, content_type, content_encoding)
    retries = headers.get("retries")
    is_count = isinstance(retries, int) and 0 <= retries <= _COUNT_MAX
    about = {
        "root_id": _text(headers, "root_id"),
        "parent_id": _text(headers, "parent_id"),
        "args": _text(headers, "argsrepr", _REPR_MAX) or "",
        "kwargs": _text(headers, "kwargsrepr", _REPR_MAX) or "",
        "retries": retries if is_count else 0,
    }
    return TaskMessage(task, task_id, args, kwargs, eta, expires, about)


def _text(fields: dict[str, Any], name: str, longest: int = _TEXT_MAX) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= longest else None


def _moment(headers: dict[str, Any], name: str) -> datetime | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, str) or len(value) > _MOMENT_MAX:
            raise ValueError  # noqa: TRY301  # as a text that is no time
        moment = datetime.fromisoformat(value)
        # One without a zone is UTC, as Celery sends it.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedError(f"is no Celery task message: its {name} is no time") from None


def _arguments(
    body: bytes | str, content_type: object, content_encoding: object
) -> tuple[list[Any], dict[str, Any]]:
    if content_type != "application/json":
        raise MalformedError("cannot be decoded: its content type is not application/json")
    if not (content_encoding is None or str(content_encoding).lower() in _TEXT_ENCODINGS):
        raise MalformedError("cannot be decoded: its content encoding is not utf-8")
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    if len(raw) > BODY_BYTES_MAX:
        raise MalformedError(f"is longer than {BODY_BYTES_MAX} bytes")
    if _nests_deeper(raw, DEPTH_MAX):
        raise MalformedError(f"nests more than {DEPTH_MAX} deep")
    try:
        content = _from_json(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"cannot be decoded: {type(error).__name__}: {error}") from None
    match content:
        case [list(args), dict(kwargs), dict() | None]:
            return args, kwargs
        case _:
            raise MalformedError("is no Celery task message: its body is not [args, kwargs, embed]")
