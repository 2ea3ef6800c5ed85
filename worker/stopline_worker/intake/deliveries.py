"""Messages that a broker delivered, and what can be done with them. Knows no broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Source(Protocol):
    """Who delivered a message, and still answers for it. `tag` is its own name for a message."""

    def acknowledge(self, tags: Sequence[Any]) -> None:
        """They are done with: never deliver them again."""

    def give_back(self, tags: Sequence[Any]) -> None:
        """They are for somebody else: deliver them again, and soon."""

    def put_off(self, tag: Any, delay_s: float) -> None:
        """Deliver it again after so many seconds."""


class Delivery(NamedTuple):
    """A message as it came, until it is acknowledged or given back."""

    source: Source
    tag: Any
    queue: str
    body: bytes | str
    headers: Any
    content_type: object = None
    content_encoding: object = None
