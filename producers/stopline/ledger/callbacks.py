"""Callbacks on their way: taken in, given out, settled, and those that were given up. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from stopline.contract import Callback, CallbackView, from_microseconds
from stopline.ledger import keys
from stopline.ledger.commands.encoding import json_string, options, text
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits


class Follows(StrEnum):
    """What follows when a callback was sent."""

    DONE = "done"
    AGAIN = "again"
    LATER = "later"
    """It was not sent, and is to be."""
    DEAD = "dead"
    GONE = "gone"
    """Its URL said that it wants none any more."""


class Sent(NamedTuple):
    """What came of sending a callback.

    Attributes:
        callback_id: of which.
        follows: what follows.
        delay_s: after how long it is to be sent again.
        said: what came of it, for people.
    """

    callback_id: str
    follows: Follows
    delay_s: float = 0.0
    said: str = ""


def add_callbacks(limits: Limits, some: Sequence[Callback]) -> Command[int]:
    """Take callbacks in, each once; how many are new."""
    fields = [
        word
        for one in some
        for word in (
            one.callback_id,
            orjson.dumps({"url": one.url, "source": one.source, "body": one.body}).decode(),
        )
    ]
    return Command("add_callbacks", (options(limits), *fields), int)


def claim_callbacks(limits: Limits, limit: int, lease_s: float) -> Command[tuple[Callback, ...]]:
    """Callbacks that are to be sent now; they come again when the lease is over."""
    given = options(limits, limit=limit, lease_us=round(lease_s * 1_000_000))
    return Command("claim_callbacks", (given,), _parse_claimed)


def _parse_claimed(reply: Any) -> tuple[Callback, ...]:
    words = [text(word) for word in reply]
    rows = zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True)
    return tuple(
        Callback(
            callback_id,
            (found := orjson.loads(document))["url"],
            found["body"],
            found["source"],
            int(attempts),
            int(first_at),
        )
        for callback_id, attempts, first_at, document in rows
    )


def settle_callbacks(limits: Limits, some: Sequence[Sent]) -> Command[int]:
    """Write down what came of sending some; how many of them still waited for that."""
    fields = [
        word
        for one in some
        for word in (
            one.callback_id,
            one.follows.value,
            round(one.delay_s * 1_000_000),
            json_string(one.said),
        )
    ]
    return Command("settle_callbacks", (options(limits), *fields), int)


def redrive_callbacks(
    limits: Limits, ids: Sequence[str], *, drop: bool = False
) -> Command[tuple[bool, ...]]:
    """Send some again that were given up, or drop them; whether each was one."""
    given = (options(limits), "1" if drop else "", *ids)
    return Command("redrive_callbacks", given, lambda reply: tuple(map(bool, reply)))


def waiting() -> Command[int]:
    """How many wait."""
    return Command("ZCARD", (keys.CALLBACKS,), int, is_script=False)


def untold() -> Command[int]:
    """How many were given up."""
    return Command("ZCARD", (keys.UNTOLD,), int, is_script=False)


def first_waiting() -> Command[int | None]:
    """When the first of those that wait is to be sent, in microseconds."""
    given = (keys.CALLBACKS, 0, 0, "WITHSCORES")

    def parse(reply: Any) -> int | None:
        if not reply:
            return None
        score = reply[0][1] if isinstance(reply[0], (list, tuple)) else reply[1]
        return int(float(score))

    return Command("ZRANGE", given, parse, is_script=False)


def dead_ids(first: int, count: int) -> Command[tuple[tuple[str, int], ...]]:
    """Ids of some that were given up, the newest first, and when that was."""
    given = (keys.UNTOLD, first, first + count - 1, "REV", "WITHSCORES")

    def parse(reply: Any) -> tuple[tuple[str, int], ...]:
        if reply and isinstance(reply[0], (list, tuple)):
            return tuple((text(one), int(float(score))) for one, score in reply)
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return tuple((text(one), int(float(score))) for one, score in pairs)

    return Command("ZRANGE", given, parse, is_script=False)


def views(found: Sequence[tuple[str, int]]) -> Command[tuple[CallbackView, ...]]:
    """What is known of some that were given up; those that are kept no more are left out."""

    def parse(reply: Sequence[bytes | None]) -> tuple[CallbackView, ...]:
        return tuple(
            _view(callback_id, died_at, text(raw))
            for (callback_id, died_at), raw in zip(found, reply, strict=True)
            if raw is not None and raw != b"done"
        )

    names = [keys.CALLBACK + callback_id for callback_id, _ in found]
    return Command("MGET", tuple(names), parse, is_script=False)


def _view(callback_id: str, died_at: int, raw: str) -> CallbackView:
    attempts, _first_at, said, document = raw.split("\n", 3)
    found = orjson.loads(document)
    return CallbackView(
        callback_id=callback_id,
        url=found["url"],
        source=found["source"],
        attempts=int(attempts),
        said=orjson.loads(said) if said else None,
        died_at=from_microseconds(died_at),
    )
