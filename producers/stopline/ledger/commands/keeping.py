"""What processes write down of themselves, and of messages that nobody can handle."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import orjson

from stopline.ledger import keys
from stopline.ledger.commands.encoding import members, options
from stopline.ledger.values import Clock, Command, Quarantined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import Beat, Junk
    from stopline.ledger.limits import Limits


def quarantine(limits: Limits, junk: Junk) -> Command[Quarantined]:
    """Keep a message that no worker can handle."""
    known = members(
        {
            "message_id": junk.message_id,
            "reason": junk.reason,
            "queue": junk.queue,
            "truncated": junk.truncated or None,  # left out where it is false
            "content_type": junk.content_type,
            "content_encoding": junk.content_encoding,
            "origin": junk.origin,
        }
    )
    headers = orjson.dumps(junk.headers or {}).decode()
    body = base64.b64encode(junk.body).decode()
    return Command(
        "quarantine",
        (options(limits), junk.message_id, known, f"{headers}\n{body}"),
        lambda reply: Quarantined(int(reply[0]), int(reply[1])),
    )


def join_ledger(limits: Limits) -> Command[int]:
    """Begin to work on a ledger; its format before, 0 where nobody has written one."""
    given = (options(limits), str(keys.FORMAT_VERSION))
    return Command("join_ledger", given, int)


def beat(limits: Limits, said: Beat) -> Command[None]:
    """Write down that a process lives, and what it says of itself."""
    fields = {
        name: value or None if name in _LEFT_OUT_IF_EMPTY else value
        for name, value in asdict(said).items()
        if name not in _MOMENTS
    }
    if said.bridge is not None:
        fields["bridge"] = said.bridge.to_json()
    moments = [
        word
        for age, name in _MOMENTS.items()
        if (seconds := getattr(said, age)) is not None
        for word in (name, str(round(seconds * 1_000_000)))
    ]
    return Command(
        "beat",
        (options(limits), said.process_id, members(fields), *moments),
        lambda _reply: None,
    )


_MOMENTS: Final = {
    "since_consumed_s": "consumed_at",
    "since_swept_s": "swept_at",
    "since_api_failing_s": "api_failing_at",
}
"""Which age of `Beat` tells which moment of `Heartbeat`."""
_LEFT_OUT_IF_EMPTY: Final = frozenset({"paused", "engines"})


def report(limits: Limits, documents: Sequence[tuple[str, bytes]]) -> Command[tuple[bool, ...]]:
    """Write Celery's results of messages that were never accepted, where nothing else is known.

    Args:
        limits: the limits.
        documents: the ids of at most `MESSAGE_IDS_MAX` messages, and what is to stand there.

    Returns:
        For each whether it was written.
    """
    fields = [field for pair in documents for field in pair]
    return Command(
        "report",
        (options(limits), *fields),
        lambda reply: tuple(map(bool, reply)),
    )


def leave(process_id: str) -> Command[None]:
    """Take back the heartbeat of a process that ends in order."""
    return Command("leave", (options(), process_id), lambda _reply: None)


def read_clock(limits: Limits) -> Command[Clock]:
    """Ask the ledger what time it is."""
    return Command("time", (options(limits),), lambda reply: Clock(int(reply[0]), int(reply[1])))
