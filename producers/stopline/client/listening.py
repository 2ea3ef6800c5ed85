"""Who waits for which outcome: what both clients' listeners share. Pure.

A client has one subscription for all of its waiters, on a connection of its own. The channel of an
outcome is its key in the results backend, and the message its value. A subscription may miss what
happens while it is cut, so what is waited for is also looked at once a second, all of it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from stopline.errors import UnavailableError
from stopline.ledger import keys, queries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline.contract import Outcome

LOOK_AGAIN_S: Final = 1.0
"""How long a waiter trusts its subscription before somebody looks."""
IDLE_S: Final = 10.0
"""How long a listener stays when nobody waits."""
LOOKED_AT_ONCE: Final = 250


class Ticket(Protocol):
    """A future, of threads or of asyncio."""

    def done(self) -> bool:
        """Whether somebody set it, or gave up."""

    def set_result(self, result: Outcome | queries.Progress, /) -> None:
        """Set what was found."""

    def set_exception(self, exception: Exception, /) -> None:
        """Set what kept anybody from finding it."""


F = TypeVar("F", bound=Ticket)


class Waiters(Generic[F]):
    """The tickets of those who wait, by request."""

    def __init__(self) -> None:
        self._tickets: dict[str, list[F]] = {}

    def __bool__(self) -> bool:
        return bool(self._tickets)

    def add(self, request_id: str, ticket: F) -> bool:
        """Add a ticket; whether it is the first for its request."""
        tickets = self._tickets.setdefault(request_id, [])
        tickets.append(ticket)
        return len(tickets) == 1

    def remove(self, request_id: str, ticket: F) -> bool:
        """Remove a ticket; whether it was the last for its request."""
        tickets = self._tickets.get(request_id, [])
        if ticket in tickets:
            tickets.remove(ticket)
        if tickets or request_id not in self._tickets:
            return False
        del self._tickets[request_id]
        return True

    def chunks(self) -> list[list[str]]:
        """Every request that is waited for, as many at a time as are looked at at once."""
        ids = list(self._tickets)
        return [ids[at : at + LOOKED_AT_ONCE] for at in range(0, len(ids), LOOKED_AT_ONCE)]

    def resolve(
        self, request_ids: Iterable[str], found: Iterable[Outcome | queries.Progress]
    ) -> None:
        """Tell who waits what was found; what is still open is left."""
        for request_id, one in zip(request_ids, found, strict=True):
            if one is queries.Progress.OPEN:
                continue
            for ticket in self._tickets.get(request_id, ()):
                if not ticket.done():
                    ticket.set_result(one)

    def fail(self, error: Exception) -> None:
        """Tell all who wait that nobody can look."""
        for tickets in self._tickets.values():
            for ticket in tickets:
                if not ticket.done():
                    ticket.set_exception(error)


def closed() -> UnavailableError:
    """What those are told who wait when their client is closed."""
    return UnavailableError("The client was closed while somebody waited for an outcome.")


def heard(message: dict[str, object] | None) -> tuple[str, Outcome | None] | None:
    """The request that a message of a subscription is about, and its outcome if that is in it.

    Without an outcome it is to be looked at: the subscription has just begun, so that nothing is
    missed from then on; or another than a worker wrote there.
    """
    if message is None or message["type"] not in ("subscribe", "message"):
        return None
    channel, data = message["channel"], message["data"]
    name = channel.decode() if isinstance(channel, bytes) else str(channel)
    request_id = keys.request_of_result(name)
    outcome = queries.parse_result(data) if isinstance(data, bytes) else None
    return request_id, outcome
