"""What a service keeps in the ledger for a while, by name: plain values with a time to live."""

from __future__ import annotations

from stopline.ledger import keys
from stopline.ledger.commands.encoding import options
from stopline.ledger.values import Command


def remember(name: str, value: bytes, ttl_s: int) -> Command[None]:
    """Keep a value for so many seconds."""
    return Command("remember", (options(), name, value, ttl_s), lambda _reply: None)


def recall(name: str) -> Command[bytes | None]:
    """A value that is kept; None: there is none (any more)."""
    return Command("GET", (keys.VALUE + name,), lambda reply: reply, is_script=False)


def forget(name: str) -> Command[None]:
    """Keep it no longer."""
    return Command("DEL", (keys.VALUE + name,), lambda _reply: None, is_script=False)
