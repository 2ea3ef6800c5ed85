"""How values are written for the scripts, and read from their replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from stopline.contract import Lane
from stopline.ledger.values import Promotion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stopline.ledger.limits import Limits


def members(fields: dict[str, Any]) -> str:
    """A JSON object's members without its braces; nulls are left out."""
    present = {name: value for name, value in fields.items() if value is not None}
    return orjson.dumps(present).decode()[1:-1]


def json_string(value: str) -> str:
    """The text as a JSON string, quotes included."""
    return orjson.dumps(value).decode()


def options(limits: Limits | None = None, **extra: object) -> bytes:
    """What every script gets first: the limits, and what it alone wants to know."""
    return orjson.dumps({**(limits.to_options() if limits else {}), **extra})


def text(value: bytes) -> str:
    """A word of a reply."""
    return value.decode()


def pairs(reply: Sequence[bytes] | dict[bytes, bytes]) -> dict[str, str]:
    """A hash in a reply: flat from a script or a bare connection, a dict from redis-py's client."""
    found: Iterable[tuple[bytes, bytes]] = (
        reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    )
    return {text(name): text(value) for name, value in found}


def numbers(reply: Sequence[bytes] | dict[bytes, bytes]) -> dict[str, int]:
    """The same of one whose values are whole numbers."""
    return {name: int(value) for name, value in pairs(reply).items()}


def promotions(flat: Sequence[bytes]) -> tuple[Promotion, ...]:
    """Requests and their lanes, flat in a reply."""
    words = [text(word) for word in flat]
    return tuple(
        Promotion(request_id, Lane(lane))
        for request_id, lane in zip(words[::2], words[1::2], strict=True)
    )


Promotions = tuple[Promotion, ...]
