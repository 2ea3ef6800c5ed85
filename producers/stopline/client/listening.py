"""Who waits for which outcome: the tickets of all who wait through one client. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stopline.contract import Outcome
from stopline.errors import UnavailableError
from stopline.ledger import keys, queries

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

LOOKED_AT_ONCE: Final = 250

Found = Outcome | queries.Progress


class Waiters:
    """The tickets of those who wait, by request; and which requests came and went."""

    def __init__(self) -> None:
        self._tickets: dict[str, list[asyncio.Future[Found]]] = {}
        self._added: set[str] = set()
        self._removed: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._tickets)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._tickets

    def changes(self) -> tuple[set[str], set[str]]:
        """Requests that are waited for since the last look, and those that are no longer.

        With ten thousand that wait, looking at all of them for each outcome took a millisecond.
        """
        changes = self._added, self._removed
        self._added, self._removed = set(), set()
        return changes

    @property
    def wanted(self) -> set[str]:
        """The requests that are waited for."""
        return set(self._tickets)

    def add(self, request_id: str, ticket: asyncio.Future[Found]) -> None:
        """Wait for a request."""
        if request_id not in self._tickets:
            self._added.add(request_id)
            self._removed.discard(request_id)
        self._tickets.setdefault(request_id, []).append(ticket)

    def remove(self, request_id: str, ticket: asyncio.Future[Found]) -> None:
        """Wait no longer."""
        tickets = self._tickets[request_id]
        tickets.remove(ticket)
        if not tickets:
            del self._tickets[request_id]
            self._removed.add(request_id)
            self._added.discard(request_id)

    def resolve(self, request_ids: Iterable[str], found: Iterable[Found]) -> None:
        """Tell who waits what was found; what is still open is left."""
        for request_id, one in zip(request_ids, found, strict=True):
            if one is queries.Progress.OPEN:
                continue
            for ticket in self._tickets.get(request_id, ()):
                if not ticket.done():
                    ticket.set_result(one)

    def fail(self, request_ids: Iterable[str], error: Exception) -> None:
        """Tell who waits for these that nobody can look."""
        for request_id in request_ids:
            for ticket in self._tickets.get(request_id, ()):
                if not ticket.done():
                    ticket.set_exception(error)


def chunked(request_ids: Iterable[str]) -> list[list[str]]:
    """Ids, as many together as are looked at at once."""
    ids = list(request_ids)
    return [ids[at : at + LOOKED_AT_ONCE] for at in range(0, len(ids), LOOKED_AT_ONCE)]


def closed() -> UnavailableError:
    """What those are told who wait when their client is closed."""
    return UnavailableError("The client was closed while somebody waited for an outcome.")


def heard(message: Any) -> tuple[str, Outcome | None] | None:
    """The request that a message of a subscription is about, and its outcome if that is in it.

    Without an outcome it is to be looked at: the subscription has just begun, so that nothing is
    missed from then on; or somebody wrote there what is no outcome of ours.
    """
    match message:
        case [b"subscribe" | b"message" as kind, bytes(channel), data]:
            request_id = keys.request_of_result(channel.decode("utf-8", "replace"))
            return request_id, _outcome_in(data) if kind == b"message" else None
        case _:
            return None


def _outcome_in(data: bytes) -> Outcome | None:
    try:
        return queries.parse_result(data)
    except (ValueError, LookupError, TypeError):
        return None
