"""Messages that say nothing but "look at these ids", as entries of a queue. Pure."""

from __future__ import annotations

import base64
from typing import Any, Final

import orjson

from stopline.contract import DISPATCH_TASK, MESSAGE_IDS_MAX, is_identifier

MARK: Final = f'"task": "{DISPATCH_TASK}"'
"""What such an entry has in its headers. No text of a sender's can look like it: in there, quotes
have a backslash before them."""


def ids_of(entry: bytes) -> list[str] | None:
    """The ids of such an entry; None if it is another, or says more, or says it in another way."""
    try:
        message = orjson.loads(entry)
        headers, properties = message["headers"], message["properties"]
        if headers["task"] != DISPATCH_TASK:
            return None
        body = message["body"]
        if properties.get("body_encoding") is not None:
            body = base64.b64decode(body, validate=True)
        content = orjson.loads(body)
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    match content:
        case [args, dict() as kwargs, dict()]:
            return dispatched_ids(args, kwargs)
        case _:
            return None


def dispatched_ids(args: Any, kwargs: dict[str, Any]) -> list[str] | None:
    """The ids that a dispatch task is called with; None if it is called with anything else."""
    match args:
        case [list() as ids] if not kwargs and len(ids) <= MESSAGE_IDS_MAX:
            return ids if all(is_identifier(one) for one in ids) else None
        case _:
            return None
