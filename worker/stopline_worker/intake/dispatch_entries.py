"""Dispatch messages of a few ids, made into one of many: Celery's costs are per message. Pure.

Works on entries of a queue as kombu's Redis transport writes them. Only messages that say nothing
but "look at these ids" are taken together; what differs in anything is left to Celery as it is.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import orjson

from stopline.contract import DISPATCH_TASK, MESSAGE_IDS_MAX, is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENTRIES_MAX: Final = 80
"""Entries that are taken off a queue at once; with the most ids that fit, two messages."""
ENTRY_BYTES_MAX: Final = 1200
"""One id makes about 900. A larger entry has ids enough to be worth its own message."""
MARK: Final = f'"task": "{DISPATCH_TASK}"'
"""What such an entry has in its headers. No text of a sender's can look like it: in there, quotes
have a backslash before them."""


_NOTHING_LINKED: Final = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def is_dispatch(message: Any) -> bool:
    """Whether an entry is a dispatch message, and so need not be noted until it is acknowledged."""
    match message:
        case {"headers": {"task": task}}:
            return bool(task == DISPATCH_TASK)
        case _:
            return False


def ids_of(message: Any) -> list[str] | None:
    """The ids of a dispatch message that says nothing else; else None."""
    if not is_dispatch(message):
        return None
    headers = message["headers"]
    if headers.get("eta") is not None or headers.get("expires") is not None:
        return None
    try:
        content = orjson.loads(base64.b64decode(message["body"], validate=True))
    except (KeyError, TypeError, ValueError):
        return None
    match content:
        case [[list() as ids], dict() as more, dict() as embed] if not (
            more or any(embed.values()) or len(ids) > MESSAGE_IDS_MAX
        ):
            return ids if all(is_identifier(one) for one in ids) else None
        case _:
            return None


class Entry(NamedTuple):
    """An entry of a queue, decoded once: its ids where it is a dispatch message and no more."""

    message: Any
    ids: list[str] | None

    @classmethod
    def of(cls, message: Any) -> Self:
        """The entry that this message is."""
        return cls(message, ids_of(message))


def gathered(entries: Iterable[Entry]) -> Iterator[Any]:
    """The messages, with dispatch messages joined up to `MESSAGE_IDS_MAX` ids."""
    first: Any = None
    together: list[str] = []
    for message, ids in entries:
        if ids is None:
            yield message
            continue
        if first is not None and len(together) + len(ids) > MESSAGE_IDS_MAX:
            yield _with_ids(first, together)
            first, together = None, []
        first = message if first is None else first
        together += ids
    if first is not None:
        yield _with_ids(first, together)


def _with_ids(message: Any, ids: list[str]) -> Any:
    body = base64.b64encode(orjson.dumps([[ids], {}, _NOTHING_LINKED])).decode()
    headers = {**message["headers"], "argsrepr": f"<{len(ids)} ids>"}
    return {**message, "body": body, "headers": headers}
