"""What leaves: how far those are who keep outcomes elsewhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stopline.contract.outcomes import Outcome

SINK_LATE_S: Final = 60.0
"""Whoever is so far behind is told of."""


class SinkEntry(NamedTuple):
    """An entry of the stream; without an outcome it is none that this version can read."""

    place: str
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class SinkView:
    """How far a sink is with the outcomes that it is to keep.

    Attributes:
        name: the sink's.
        readers: how many processes read for it.
        waiting: outcomes that it has not acknowledged; None: the server does not know.
        oldest_s: how long ago the first of these came; None: there is none.
    """

    name: str
    readers: int
    waiting: int | None
    oldest_s: float | None

    def to_json(self) -> dict[str, Any]:
        """The view as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sinks:
    """All sinks, and how many outcomes went before each of them had them."""

    views: tuple[SinkView, ...] = ()
    dropped: int = 0

    def notices(self) -> Iterator[tuple[str, str]]:
        """Who is behind, for people: a part and a sentence each."""
        yield from _late(self.views)
        if self.dropped:
            yield (
                "outcomes",
                f"{self.dropped:,} went before every sink had them (STOPLINE_SINKS_MOST)",
            )

    def to_json(self) -> dict[str, Any]:
        """The views as plain JSON values."""
        return {"sinks": [one.to_json() for one in self.views], "dropped": self.dropped}


def _late(views: Iterable[SinkView]) -> Iterator[tuple[str, str]]:
    for one in views:
        if one.oldest_s is not None and one.oldest_s > SINK_LATE_S:
            count = "some" if one.waiting is None else f"{one.waiting:,}"
            yield (
                f"sink {one.name}",
                f"{count} outcomes wait for it, the first for {one.oldest_s:,.0f} s",
            )
