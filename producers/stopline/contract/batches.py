"""Many requests that were submitted as one."""

from __future__ import annotations

from typing import NamedTuple

from stopline.contract.document import Document
from stopline.contract.outcomes import Outcome, OutcomeKind, RequestDocument, State, Verdict
from stopline.contract.receipts import ReceiptKind
from stopline.contract.targets import Target
from stopline.contract.times import Moment


class BatchHead(NamedTuple):
    """What is known of a batch as a whole: a name for people, who sent it, and why."""

    name: str | None = None
    source: str | None = None
    reason: str | None = None


class BatchPause(Document):
    """Who paused a batch, why, and when."""

    by: str
    reason: str
    at: Moment


class Batch(Document):
    """Progress and report of a batch."""

    batch_id: str
    name: str | None = None
    source: str | None = None
    reason: str | None = None
    paused: BatchPause | None = None
    total: int
    pending: int
    outcomes: dict[OutcomeKind, int]
    receipts: dict[ReceiptKind, int]
    submitted_at: Moment
    finished_at: Moment | None = None


class BatchLine(Document):
    """What became of one line of a batch; without `state` and `outcome` it is kept no more."""

    place: int | None
    """Its number in its file; for `stop_many` its position, from 0; None: it was sent alone."""
    request_id: str
    user_id: str | None = None
    task_id: str | None = None
    sub_user_id: str | None = None
    joined: bool | None = None
    """Whether its request is not of this batch: it was there before, and is shared."""
    state: State | None = None
    outcome: OutcomeKind | None = None
    detail: str | None = None
    satisfied_by: str | None = None
    stopped_before: str | None = None
    """The request whose call had stopped the task already: this one changed nothing."""
    attempts: int = 0
    called_at: Moment | None = None
    """When the call of its own began that stopped the task."""
    finished_at: Moment | None = None

    @classmethod
    def of(
        cls, batch_id: str, place: int | None, request_id: str, found: RequestDocument | None
    ) -> BatchLine:
        """A line, from where it stands and what its request is by now."""
        if found is None:
            return cls(place=place, request_id=request_id)
        ended = found if isinstance(found, Outcome) else None
        return cls(
            place=place,
            request_id=found.request_id,
            **found.target._asdict(),
            joined=found.batch_id != batch_id,
            state=getattr(found, "state", None),
            outcome=ended and ended.outcome,
            detail=ended and ended.detail,
            satisfied_by=ended and ended.satisfied_by,
            stopped_before=ended and ended.stopped_before,
            attempts=len(found.attempts),
            called_at=_stopped_at(found),
            finished_at=ended and ended.finished_at,
        )

    @property
    def stopped_target(self) -> Target | None:
        """What this line itself stopped: by a call of its own, for its own batch."""
        if self.called_at is None or self.joined or self.stopped_before is not None:
            return None
        if self.user_id is None or self.task_id is None:
            return None
        return Target(self.user_id, self.task_id, self.sub_user_id)


def _stopped_at(found: RequestDocument) -> Moment | None:
    if not isinstance(found, Outcome) or found.outcome is not OutcomeKind.STOPPED:
        return None
    if found.satisfied_by is not None:
        return None
    calls = [one.started_at for one in found.attempts if one.verdict is Verdict.STOPPED]
    return calls[-1] if calls else None
