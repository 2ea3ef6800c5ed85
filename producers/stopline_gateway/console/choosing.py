"""What an action touches: open requests by a filter, dead letters by ids, a group or a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.contract import DeadFilter, DeadMessage, OutcomeKind
from stopline.errors import UnknownRequestError
from stopline_gateway.console.failures import id_of, outcome_of, reason_of
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from stopline import AsyncStopClient
    from stopline.contract import CancelResult, DeadLetter, OpenPlace, RequestFilter
    from stopline_gateway.access import Caller
    from stopline_gateway.console.guard import Form

AT_ONCE_MAX: Final = 10_000
"""Requests that one action cancels, and that a preview counts."""
LETTERS_MAX: Final = 1_000
"""Dead letters that one action sends again or drops, and that a page groups."""
_LOOKED_AT_MAX: Final = 20_000
_CHUNK: Final = 250


class Count(NamedTuple):
    """How many there are; `is_exact` is false where there may be more."""

    found: int
    is_exact: bool


def check_not_empty(wanted: RequestFilter) -> None:
    """Refuse to act on everything; raises `Problem`."""
    if wanted.is_empty:
        raise Problem(
            Kind.INVALID, "Choose which requests are meant: a filter that is empty means all."
        )


async def count_open(client: AsyncStopClient, wanted: RequestFilter) -> Count:
    """How many open requests a filter means."""
    found, place = 0, None
    while True:
        page = await client.view.open_page(wanted, place=place, limit=1_000)
        found += len(page.requests)
        place = page.place
        if place is None or found >= AT_ONCE_MAX:
            return Count(min(found, AT_ONCE_MAX), place is None)


async def cancel_open(
    client: AsyncStopClient, wanted: RequestFilter, caller: Caller
) -> tuple[dict[CancelResult, int], bool]:
    """Cancel open requests of a filter; what came of it, and whether there may be more."""
    results: dict[CancelResult, int] = {}
    place: OpenPlace | None = None
    touched = 0
    while touched < AT_ONCE_MAX:
        page = await client.view.open_page(wanted, place=place, limit=_CHUNK)
        for one in page.requests:
            result = await client.cancel(one.request_id, by=caller.name, actor=caller.actor)
            results[result] = results.get(result, 0) + 1
        touched += len(page.requests)
        place = page.place
        if place is None:
            return results, False
    return results, True


class Letters(NamedTuple):
    """Which dead letters are meant: ids; or a filter, and among those one group."""

    ids: tuple[str, ...] = ()
    wanted: DeadFilter = DeadFilter()
    outcome: str = ""
    reason: str = ""

    @classmethod
    def of(cls, form: Form) -> Letters:
        """What a form says; raises `Problem` where it says nothing."""
        chosen = cls(
            tuple(dict.fromkeys(one for one in form.all("id") if one)),
            dead_filter(form.one("kind"), form.one("user_id"), form.one("batch_id")),
            form.one("outcome"),
            form.one("reason"),
        )
        if not chosen.ids and chosen.wanted.is_empty and not chosen.reason:
            raise Problem(Kind.INVALID, "Choose which dead letters are meant.")
        return chosen

    def means(self, letter: DeadLetter) -> bool:
        """Whether a letter is one of these; of ids nothing is asked here."""
        is_of_group = not self.reason or (
            (outcome_of(letter), reason_of(letter)) == (self.outcome, self.reason)
        )
        return is_of_group and self.wanted.matches(letter)

    async def found(self, client: AsyncStopClient) -> AsyncIterator[DeadLetter]:
        """The letters, as far as one action looks."""
        if self.ids:
            for one in self.ids:
                try:
                    yield await client.dead_letter(one)
                except UnknownRequestError:
                    continue  # somebody was quicker
            return
        looked_at = 0
        async for letter in client.dead_letters(newest_first=True):
            looked_at += 1
            if self.means(letter):
                yield letter
            if looked_at >= _LOOKED_AT_MAX:
                return


def dead_filter(outcome: str, user_id: str, batch_id: str) -> DeadFilter:
    """A filter of dead letters; raises `Problem` where the outcome is none."""
    if outcome and outcome not in set(OutcomeKind):
        raise Problem(Kind.INVALID, "kind: there is no such outcome.", field="kind")
    return DeadFilter(
        outcome=OutcomeKind(outcome) if outcome else None,
        user_id=user_id or None,
        batch_id=batch_id or None,
    )


async def redrive(client: AsyncStopClient, letters: Letters, caller: Caller) -> tuple[int, int]:
    """Send letters again; how many, and how many cannot be."""
    sent = kept = 0
    async for chunk in _chunks(letters.found(client)):
        sendable = [one for one in chunk if not isinstance(one, DeadMessage) or one.can_be_redriven]
        kept += len(chunk) - len(sendable)
        await client.redrive(sendable, by=caller.name, actor=caller.actor)
        sent += len(sendable)
    return sent, kept


async def discard(client: AsyncStopClient, letters: Letters, caller: Caller) -> int:
    """Drop letters; how many."""
    dropped = 0
    async for chunk in _chunks(letters.found(client)):
        done = await client.discard([id_of(one) for one in chunk], actor=caller.actor)
        dropped += sum(done.values())
    return dropped


async def _chunks(letters: AsyncIterator[DeadLetter]) -> AsyncIterator[Sequence[DeadLetter]]:
    chunk: list[DeadLetter] = []
    touched = 0
    async for letter in letters:
        chunk.append(letter)
        touched += 1
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
        if touched >= LETTERS_MAX:
            break
    if chunk:
        yield chunk
