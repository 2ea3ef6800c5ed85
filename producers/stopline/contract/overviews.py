"""What there is to see of all requests at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stopline.contract.document import Document
from stopline.contract.lanes import Lane
from stopline.contract.names import Identifier, Name
from stopline.contract.outcomes import OpenRequest, Outcome, OutcomeKind, State

if TYPE_CHECKING:
    from datetime import datetime

    from stopline.contract.counts import Counts
    from stopline.contract.targets import Target


class LaneView(NamedTuple):
    """A lane at a moment.

    Attributes:
        open: requests without an outcome.
        oldest_at: when the oldest of them was accepted, to a second; None: there is none, or
            nothing is counted.
        due_at: when the first is to be looked at again; what lies behind now is late.
        waits_since: when the first was accepted that waits for the turn of its batch, if one does.
    """

    open: int
    oldest_at: datetime | None
    due_at: datetime | None
    waits_since: datetime | None = None


class ServerMemory(NamedTuple):
    """What the ledger's server uses; `max_bytes` is 0 where it has no limit."""

    used_bytes: int
    max_bytes: int


class Overview(NamedTuple):
    """The ledger at a moment, by its own clock."""

    at: datetime
    counts: Counts
    lanes: dict[Lane, LaneView]
    dead_letters: int
    memory: ServerMemory | None
    """None where the server does not tell."""


class Snapshot(NamedTuple):
    """The counters as they were at a moment."""

    at: datetime
    counts: Counts


class RequestFilter(Document):
    """Which requests are meant; what is None says nothing.

    `state` is for open ones, `outcome` for those that ended.
    """

    state: State | None = None
    outcome: OutcomeKind | None = None
    lane: Lane | None = None
    user_id: Identifier | None = None
    task_id: Identifier | None = None
    source: Name | None = None
    batch_id: Identifier | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it means all."""
        return self == RequestFilter()

    def matches(self, one: Outcome) -> bool:
        """Whether a request that ended is meant; who joined it counts as its source, too."""
        sources = {one.source, *(join.source for join in one.joined)}
        return (
            self.outcome in {None, one.outcome}
            and self.lane in {None, one.lane}
            and self.user_id in {None, one.user_id}
            and self.task_id in {None, one.task_id}
            and (self.source is None or self.source in sources)
            and self.batch_id in {None, one.batch_id}
        )


class OpenPage(NamedTuple):
    """Some open requests, in the order of their lanes and of when they are due.

    Attributes:
        requests: those found.
        looked_at: how many were looked at for it.
        place: where to go on; None: there are no more.
    """

    requests: tuple[OpenRequest, ...]
    looked_at: int
    place: OpenPlace | None


class OpenPlace(NamedTuple):
    """How far somebody has looked: a lane, and the last one there; '' before the first."""

    lane: Lane
    score: str = ""
    request_id: str = ""


class TargetView(NamedTuple):
    """What is known of one target.

    Attributes:
        target: which.
        active: the open request that is called for.
        following: the open one behind it.
        succeeded_at: when the call began that last stopped it.
        succeeded_by: the request that it was for.
        resumed_at: when it was last said to be resumed.
    """

    target: Target
    active: str | None
    following: str | None
    succeeded_at: datetime | None
    succeeded_by: str | None
    resumed_at: datetime | None


class WrongCounter(NamedTuple):
    """A counter that does not say what is there."""

    name: str
    said: int
    found: int


class Recount(NamedTuple):
    """What counting anew found; `wrong` is None where there are too many to be counted at once."""

    open: int
    wrong: tuple[WrongCounter, ...] | None
