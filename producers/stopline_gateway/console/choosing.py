"""What an action touches: open requests by a filter, dead letters by ids, a group or a filter.

A page that asks before and the form that acts carry the same choice, and look as far: what is
counted is what is touched.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from stopline.contract import (
    CancelResult,
    DeadFilter,
    DeadMessage,
    OutcomeKind,
    RequestFilter,
    letter_id,
)
from stopline.errors import InvalidRequestError, UnknownRequestError
from stopline_gateway.console.failures import outcome_of, reason_of
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from stopline import AsyncStopClient
    from stopline.contract import DeadLetter, OpenPage, OpenPlace
    from stopline_gateway.access import Caller

AT_ONCE_MAX: Final = 10_000
"""Requests that one action cancels, and that a preview counts."""
LETTERS_MAX: Final = 1_000
"""The newest dead letters, which a page groups and an action looks at."""
_OF_BATCH_MAX: Final = 2_000
"""Those that are looked at for the ones of a batch."""
_PAGES_MAX: Final = 100
"""Calls that one action or preview costs: so many times ten thousand requests are looked at."""
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


async def _open_pages(
    client: AsyncStopClient, wanted: RequestFilter, size: int
) -> AsyncIterator[OpenPage]:
    """Open requests of a filter, as many and as far as one action goes."""
    place: OpenPlace | None = None
    found = 0
    for _ in range(_PAGES_MAX):
        page = await client.view.open_page(wanted, place=place, limit=size)
        yield page
        found += len(page.requests)
        place = page.place
        if place is None or found >= AT_ONCE_MAX:
            return


async def count_open(client: AsyncStopClient, wanted: RequestFilter) -> Count:
    """How many open requests a filter means."""
    found, is_all = 0, True
    async for page in _open_pages(client, wanted, 1_000):
        found += len(page.requests)
        is_all = page.place is None
    return Count(min(found, AT_ONCE_MAX), is_all)


async def cancel_open(
    client: AsyncStopClient, wanted: RequestFilter, caller: Caller
) -> tuple[dict[CancelResult, int], bool]:
    """Cancel open requests of a filter; what came of it, and whether there may be more."""
    results = dict.fromkeys(CancelResult, 0)
    is_all = True
    async for page in _open_pages(client, wanted, _CHUNK):
        ids = [one.request_id for one in page.requests]
        if ids:
            done = await client.cancel_each(ids, by=caller.name, actor=caller.actor)
            for result in done.values():
                results[result] += 1
        is_all = page.place is None
    return results, not is_all


class Letters(NamedTuple):
    """Which dead letters are meant: ids; or a filter, and among those one group.

    Attributes:
        ids: these, where there are any.
        wanted: else those of this filter.
        outcome, reason: of them those of this group; empty: all.
        until: none that died later: what was looked at is what is touched.
    """

    ids: tuple[str, ...] = ()
    wanted: DeadFilter = DeadFilter()
    outcome: str = ""
    reason: str = ""
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it means all."""
        return not self.ids and self.wanted.is_empty and not self.reason

    def means(self, letter: DeadLetter) -> bool:
        """Whether a letter is one of these; of ids nothing is asked here."""
        is_of_group = not self.reason or (
            (outcome_of(letter), reason_of(letter)) == (self.outcome, self.reason)
        )
        return is_of_group and self.wanted.matches(letter)

    async def found(self, client: AsyncStopClient) -> list[DeadLetter]:
        """The letters: of a group or filter those among the newest."""
        if self.ids:
            return [one for each in self.ids if (one := await _letter(client, each)) is not None]
        if self.wanted.batch_id is not None:
            letters = await _since_batch(client, self.wanted.batch_id, self.until)
        else:
            letters = await newest(client, until=self.until)
        return [one for one in letters if self.means(one)]


async def _since_batch(
    client: AsyncStopClient, batch_id: str, until: datetime | None
) -> list[DeadLetter]:
    """What died since a batch began: its own are among the first of these, not among the newest."""
    try:
        since = (await client.batch(batch_id)).submitted_at
    except UnknownRequestError:
        return []
    found: list[DeadLetter] = []
    async for letter in client.dead_letters(since=since, until=until):
        found.append(letter)
        if len(found) >= _OF_BATCH_MAX:
            break
    return found


async def _letter(client: AsyncStopClient, letter_id: str) -> DeadLetter | None:
    try:
        return await client.dead_letter(letter_id)
    except UnknownRequestError:
        return None  # somebody was quicker


async def newest(client: AsyncStopClient, *, until: datetime | None = None) -> list[DeadLetter]:
    """The newest dead letters, that died until then."""
    found: list[DeadLetter] = []
    async for letter in client.dead_letters(until=until, newest_first=True):
        found.append(letter)
        if len(found) >= LETTERS_MAX:
            break
    return found


def dead_filter(outcome: str, user_id: str, batch_id: str) -> DeadFilter:
    """A filter of dead letters; raises `Problem` where the outcome is none."""
    if outcome and outcome not in set(OutcomeKind):
        raise Problem(Kind.INVALID, "kind: there is no such outcome.", field="kind")
    return DeadFilter(
        outcome=OutcomeKind(outcome) if outcome else None,
        user_id=user_id or None,
        batch_id=batch_id or None,
    )


def letters_of(query: Mapping[str, str], ids: Sequence[str] = ()) -> Letters:
    """The letters that a page's address means; raises `Problem`."""
    get = query.get
    wanted = dead_filter(get("kind", ""), get("user_id", ""), get("batch_id", ""))
    return Letters(tuple(dict.fromkeys(ids)), wanted, get("outcome", ""), get("reason", ""))


# --- a choice in a form -------------------------------------------------------------------------
# Forms change what stands in them (line breaks), so it is written in letters that nothing changes.


def written(choice: Letters | RequestFilter) -> str:
    """A choice, for a form."""
    if isinstance(choice, RequestFilter):
        fields: dict[str, Any] = choice.model_dump(mode="json", exclude_none=True)
    else:
        fields = {
            **choice._asdict(),
            "wanted": choice.wanted.model_dump(mode="json", exclude_none=True),
            "until": None if choice.until is None else choice.until.isoformat(),
        }
    return base64.urlsafe_b64encode(orjson.dumps(fields)).decode()


def read_filter(text: str) -> RequestFilter:
    """A filter from a form; raises `Problem` where it is none, or means all."""
    try:
        wanted = RequestFilter.model_validate(_fields(text))
    except ValueError:
        raise _none() from None
    check_not_empty(wanted)
    return wanted


def read_letters(text: str) -> Letters:
    """Letters from a form; raises `Problem` where it is none, or means all."""
    try:
        fields = _fields(text)
        letters = Letters(
            ids=tuple(map(str, fields["ids"])),
            wanted=DeadFilter.model_validate(fields["wanted"]),
            outcome=str(fields["outcome"]),
            reason=str(fields["reason"]),
            until=datetime.fromisoformat(fields["until"]) if fields["until"] else None,
        )
    except (ValueError, KeyError, TypeError, InvalidRequestError):
        raise _none() from None
    if letters.is_empty:
        raise Problem(Kind.INVALID, "Choose which dead letters are meant.")
    return letters


def _fields(text: str) -> dict[str, Any]:
    found = orjson.loads(base64.urlsafe_b64decode(text.encode()))
    if not isinstance(found, dict):
        msg = "no object"
        raise ValueError(msg)  # noqa: TRY004  # as orjson's own errors
    return found


def _none() -> Problem:
    return Problem(Kind.INVALID, "This form is none of the console's: load the page again.")


# --- acting -------------------------------------------------------------------------------------


def sendable(letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Those that can be sent again."""
    return [one for one in letters if not isinstance(one, DeadMessage) or one.can_be_redriven]


async def redrive(client: AsyncStopClient, letters: Letters, caller: Caller) -> tuple[int, int]:
    """Send letters again; how many, and how many cannot be."""
    found = await letters.found(client)
    able = sendable(found)
    sent = 0
    for first in range(0, len(able), _CHUNK):
        chunk = able[first : first + _CHUNK]
        receipts = await client.redrive(chunk, by=caller.name, actor=caller.actor)
        sent += len(receipts) + sum(isinstance(one, DeadMessage) for one in chunk)
    return sent, len(found) - len(able)


async def discard(client: AsyncStopClient, letters: Letters, caller: Caller) -> int:
    """Drop letters; how many."""
    found = [letter_id(one) for one in await letters.found(client)]
    dropped = 0
    for first in range(0, len(found), _CHUNK):
        done = await client.discard(found[first : first + _CHUNK], actor=caller.actor)
        dropped += sum(done.values())
    return dropped
