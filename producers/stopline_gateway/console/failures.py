"""Failures that are alike, under one name: what is different each time is left out. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.contract import DeadMessage, letter_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from stopline.contract import DeadLetter, OpenRequest

_CHANGES: Final = (
    (re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]+Z"), "…"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}", re.IGNORECASE), "…"),
    (re.compile(r"(?<![\w.])\d{4,}(?![\w.])"), "…"),
)
"""Times, ids, long numbers; a status or a code stays."""
_CHARACTERS_MAX: Final = 160


class Group(NamedTuple):
    """Some that failed alike.

    Attributes:
        outcome: how they ended; `message` where they were none of Stopline's requests.
        reason: why, without what is different each time.
        size: how many of those that were looked at.
        last_at: when the last of them ended.
        example: the id of that one.
    """

    outcome: str
    reason: str
    size: int
    last_at: datetime
    example: str


def reason_of(letter: DeadLetter) -> str:
    """Why it failed, without what is different each time."""
    return _alike(letter.reason if isinstance(letter, DeadMessage) else letter.detail)


def outcome_of(letter: DeadLetter) -> str:
    """How it ended."""
    return "message" if isinstance(letter, DeadMessage) else letter.outcome.value


def ended_at(letter: DeadLetter) -> datetime:
    """When it died."""
    return letter.quarantined_at if isinstance(letter, DeadMessage) else letter.finished_at


def grouped(letters: Iterable[DeadLetter]) -> tuple[Group, ...]:
    """Groups, the largest first."""
    groups: dict[tuple[str, str], Group] = {}
    for letter in letters:
        name = (outcome_of(letter), reason_of(letter))
        known = groups.get(name)
        at = ended_at(letter)
        if known is None:
            groups[name] = Group(*name, 1, at, letter_id(letter))
        elif at > known.last_at:
            groups[name] = Group(*name, known.size + 1, at, letter_id(letter))
        else:
            groups[name] = known._replace(size=known.size + 1)
    return tuple(sorted(groups.values(), key=lambda one: one.size, reverse=True))


class Wait(NamedTuple):
    """Some open requests that wait for the same reason."""

    reason: str
    size: int
    example: str


def waits(requests: Iterable[OpenRequest]) -> tuple[Wait, ...]:
    """Why requests wait for another attempt, the most frequent reason first."""
    found: dict[str, Wait] = {}
    for one in requests:
        last = one.attempts[-1] if one.attempts else None
        said = ": ".join(text for text in (last.error, last.message) if text) if last else ""
        status = f"HTTP {last.http_status}" if last and last.http_status is not None else "no reply"
        reason = _alike(f"{status}: {said}" if said else status) if last else "not called yet"
        known = found.get(reason)
        found[reason] = Wait(reason, known.size + 1 if known else 1, one.request_id)
    return tuple(sorted(found.values(), key=lambda one: one.size, reverse=True))


def _alike(text: str) -> str:
    for pattern, replacement in _CHANGES:
        text = pattern.sub(replacement, text)
    return text if len(text) <= _CHARACTERS_MAX else f"{text[:_CHARACTERS_MAX]}…"
