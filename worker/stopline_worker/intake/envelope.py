"""What of a sender's message counts: a short list, each with its type and its bounds. Pure.

A queue takes messages from anybody who can reach it, and kombu and Celery act on what stands in
them: they decompress and decode, note a message under the tag that it names, put it back where it
says, call what it links to, and give its time limits to our processes. So both levels of a message
are made anew before anybody acts on them: the entry of a Redis queue (kombu's envelope), and the
headers and body of Celery's task message (protocol 2,
https://docs.celeryq.dev/en/stable/internals/protocol.html). What is not on these lists is left out;
what is on them and wrong makes the message one for the quarantine.
"""

from __future__ import annotations

import base64
import json
import uuid
from datetime import datetime
from itertools import islice
from typing import Any, Final

BODY_BYTES_MAX: Final = 1024 * 1024
"""A message of 250 ids has 10 KB, a stop request at most 8."""
ENTRY_BYTES_MAX: Final = 4 * BODY_BYTES_MAX
"""A body in base64, its headers, and what kombu puts around an entry when it notes it."""
DEPTH_MAX: Final = 32
"""A body that is right nests five deep. Parsers recurse, and each gives up elsewhere."""
ENTRY_DEPTH_MAX: Final = 64
"""More than any that `entry` makes: what kombu notes as unacknowledged must stay readable."""
_HEADERS_MAX: Final = 50
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


def entry(message: Any, queue: str) -> dict[str, Any]:
    """An entry of a Redis queue as kombu's virtual transports write it, with what counts of it.

    Where it came from and what it is called are not the sender's to say.

    Raises:
        MalformedError: it is none.
    """
    match message:
        case {"body": str(body), "headers": dict(headers), "properties": dict(properties)}:
            pass
        case _:
            raise MalformedError("is no message of kombu's")
    encoding = properties.get("body_encoding")
    _check_body(body, encoding)
    return {
        "body": body,
        "content-type": _text(message, "content-type"),
        "content-encoding": _text(message, "content-encoding"),
        "headers": _flat(headers),
        "properties": {
            "correlation_id": _text(properties, "correlation_id"),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": encoding,
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def _flat(headers: dict[str, Any]) -> dict[str, Any]:
    """Headers whose values are plain and short: what nests counts for nothing."""
    plain = (
        (name, value)
        for name, value in headers.items()
        if value is None or isinstance(value, int | float) or _text(headers, name, _REPR_MAX)
    )
    return {name: value for name, value in islice(plain, _HEADERS_MAX) if len(name) <= _TEXT_MAX}


def _check_body(body: str, encoding: object) -> None:
    if len(body) > 2 * BODY_BYTES_MAX:
        raise MalformedError(f"has a body of more than {2 * BODY_BYTES_MAX} characters")
    if encoding not in ("base64", None):  # it may be unhashable
        raise MalformedError("has an unknown body encoding")
    try:
        if encoding:
            base64.b64decode(body)
    except ValueError:
        raise MalformedError("has a body that is no base64") from None


def task_headers(headers: Any) -> dict[str, Any]:
    """The headers of a task message, with what counts of them.

    Raises:
        MalformedError: they name no task or no id, or a time that is none.
    """
    if not isinstance(headers, dict) or _text(headers, "task") is None:
        raise MalformedError("is no Celery task message: its headers name no task")
    if _text(headers, "id") is None:
        raise MalformedError("is no Celery task message: its headers have no id")
    retries = headers.get("retries")
    is_count = isinstance(retries, int) and 0 <= retries <= _COUNT_MAX
    return {
        "lang": "py",
        "task": headers["task"],
        "id": headers["id"],
        "root_id": _text(headers, "root_id"),
        "parent_id": _text(headers, "parent_id"),
        "group": _text(headers, "group"),
        "origin": _text(headers, "origin"),
        "argsrepr": _text(headers, "argsrepr", _REPR_MAX) or "",
        "kwargsrepr": _text(headers, "kwargsrepr", _REPR_MAX) or "",
        "retries": retries if is_count else 0,
        "eta": _moment(headers, "eta"),
        "expires": _moment(headers, "expires"),
        # A sender's limits would end the engine, and the calls of others with it.
        "timelimit": [None, None],
    }


def _text(fields: dict[str, Any], name: str, longest: int = _TEXT_MAX) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= longest else None


def _moment(headers: dict[str, Any], name: str) -> str | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, str) or len(value) > _MOMENT_MAX:
            raise ValueError  # noqa: TRY301  # as a text that is no time
        datetime.fromisoformat(value)
    except ValueError:
        raise MalformedError(f"is no Celery task message: its {name} is no time") from None
    return value


def task_body(body: bytes | str, content_type: object, content_encoding: object) -> bytes:
    """The body of a task message, with what counts of it: arguments, and nothing that is linked.

    Raises:
        MalformedError: it is no JSON, or not `[args, kwargs, embed]`.
    """
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
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"cannot be decoded: {type(error).__name__}: {error}") from None
    match content:
        case [_, {"self": _}, _]:
            raise MalformedError("has an argument named self")
        case [list(args), dict(kwargs), dict() | None as embed]:
            linked = any((embed or {}).values())
            return json.dumps([args, kwargs, {}]).encode() if linked or embed is None else raw
        case _:
            raise MalformedError("is no Celery task message: its body is not [args, kwargs, embed]")
