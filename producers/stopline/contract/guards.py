"""Guards: what keeps back new requests of a source that goes wild."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, Self

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from stopline.contract.document import Document
from stopline.contract.names import NAME_CHARACTERS_MAX
from stopline.contract.times import rfc3339
from stopline.contract.validation import checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

GUARDS_MAX: Final = 200
REQUESTS_MAX: Final = 100_000
WINDOW_S_MAX: Final = 86_400
_PATTERN: Final = re.compile(r"[^*]*\*?")


def _is_pattern(value: str) -> str:
    if not _PATTERN.fullmatch(value) or not value.isprintable():
        msg = "a source, or the beginning of some with * at its end"
        raise ValueError(msg)
    return value


SourcePattern = Annotated[
    str, Field(min_length=1, max_length=NAME_CHARACTERS_MAX), AfterValidator(_is_pattern)
]


class GuardLimit(Document):
    """So many new requests within so many seconds; the next one trips the guard.

    Joined, duplicate and satisfied ones do not count: they cause no call.
    """

    requests: Annotated[int, Field(strict=True, ge=1, le=REQUESTS_MAX)]
    window_s: Annotated[float, Field(strict=True, ge=1, le=WINDOW_S_MAX, allow_inf_nan=False)]


class Canary(Document):
    """After a quiet window only the first requests go; at most so many of them may fail."""

    first: Annotated[int, Field(strict=True, ge=1, le=10_000)]
    failed_max: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 0


class Halt(Document):
    """Such a share of failed ones among so many last outcomes trips the guard."""

    failed_share: Annotated[float, Field(strict=True, gt=0, le=1)]
    of_last: Annotated[int, Field(strict=True, ge=1, le=1_000)]


class Guard(Document):
    """What keeps back new requests of a source.

    Attributes:
        source: a source, or the beginning of some with `*` at its end; the longest rules.
        limit: how many may come.
        canary: whether the first ones go alone.
        halt: whether failures stop the rest.
        auto_reset_s: after so long a tripped guard begins anew by itself; None: a person resets it.
        dry_run: requests are recorded, with the outcome `dry_run`, and nothing is called.
    """

    source: SourcePattern
    limit: GuardLimit | None = None
    canary: Canary | None = None
    halt: Halt | None = None
    auto_reset_s: (
        Annotated[float, Field(strict=True, ge=1, le=30 * 86_400, allow_inf_nan=False)] | None
    ) = None
    dry_run: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.limit or self.canary or self.halt or self.dry_run):
            msg = "it guards nothing: give limit, canary, halt or dry_run"
            raise ValueError(msg)
        if self.canary and self.canary.failed_max >= self.canary.first:
            msg = "canary.failed_max must be less than canary.first: it would never fail"
            raise ValueError(msg)
        if self.auto_reset_s and self.limit and self.auto_reset_s < self.limit.window_s:
            msg = "auto_reset_s must be at least limit.window_s: its window would be full still"
            raise ValueError(msg)
        return self

    def sentence(self) -> str:
        """What it does, for people."""
        parts = []
        if self.dry_run:
            parts.append("dry run")
        if self.limit:
            parts.append(f"{self.limit.requests:,} in {self.limit.window_s:g} s")
        if self.canary:
            parts.append(f"first {self.canary.first}, {self.canary.failed_max} may fail")
        if self.halt:
            parts.append(f"halt at {self.halt.failed_share:.0%} failed of {self.halt.of_last}")
        if self.auto_reset_s:
            parts.append(f"begins anew after {self.auto_reset_s:g} s")
        return "; ".join(parts)


_SOURCE: Final[TypeAdapter[str]] = TypeAdapter(SourcePattern)


def check_guards(guards: tuple[Guard, ...]) -> tuple[Guard, ...]:
    """Guards that may stand beside each other.

    Raises:
        ValueError: two are of one source, or there are too many.
    """
    seen: set[str] = set()
    for guard in guards:
        if guard.source in seen:
            msg = f"two guards have the source {guard.source!r}"
            raise ValueError(msg)
        seen.add(guard.source)
    if len(guards) > GUARDS_MAX:
        msg = f"{len(guards)} guards; at most {GUARDS_MAX} are allowed"
        raise ValueError(msg)
    return guards


def check_source_pattern(value: str) -> str:
    """The source of a guard; raises `InvalidRequestError` where it can be none."""
    return checked(_SOURCE, value, "source")


class Trip(StrEnum):
    """Why a guard tripped."""

    LIMIT = "limit"
    CANARY = "canary"
    HALT = "halt"


class GuardView(NamedTuple):
    """A guard at a moment.

    Attributes:
        source: its source.
        guard: its rules; None: it is no guard any more, and holds some still.
        trip: why it has tripped; None: it has not.
        tripped_at: when.
        resets_at: when it begins anew by itself.
        held: how many requests it holds.
        oldest_held_at: when the oldest of them was accepted.
        canary_done, canary_failed: of the first ones, while their canary runs.
    """

    source: str
    guard: Guard | None
    trip: Trip | None = None
    tripped_at: datetime | None = None
    resets_at: datetime | None = None
    held: int = 0
    oldest_held_at: datetime | None = None
    canary_done: int | None = None
    canary_failed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The view as plain JSON values."""
        found: dict[str, Any] = self._asdict()
        found["guard"] = self.guard.model_dump(mode="json") if self.guard else None
        for name in ("tripped_at", "resets_at", "oldest_held_at"):
            found[name] = rfc3339(found[name]) if found[name] else None
        return found


class Guards(NamedTuple):
    """All guards at a moment; `version` is what `apply` is given to change just these."""

    at: datetime
    views: tuple[GuardView, ...]
    version: str

    @property
    def rules(self) -> tuple[Guard, ...]:
        """The guards as they were applied."""
        return tuple(one.guard for one in self.views if one.guard is not None)

    def notices(self) -> Iterator[tuple[str, str]]:
        """What people should know: a part and a sentence for each guard that holds some."""
        for one in self.views:
            if one.trip is None and not one.held:
                continue
            why = f"it has tripped ({one.trip})" if one.trip else "its canary runs"
            if one.guard is None:
                why = "it is no guard any more"
            elif one.trip is None and one.canary_done is None:
                why = "it lets new ones through"
            yield (
                f"guard {one.source}",
                f"{why}, and holds {one.held:,}: 'stopline held list', release or discard",
            )

    @property
    def held(self) -> int:
        """How many requests all of them hold."""
        return sum(one.held for one in self.views)


class HeldPlace(NamedTuple):
    """Where a page of held requests begins: after this one (score in microseconds, id)."""

    source: str
    score: int = 0
    request_id: str = ""
