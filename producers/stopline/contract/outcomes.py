"""What becomes of a request: its attempts, where it is, and its end."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from stopline.contract.document import Recorded
from stopline.contract.lanes import Lane
from stopline.contract.targets import Target
from stopline.contract.times import Moment


class OutcomeKind(StrEnum):
    """The terminal outcomes; each request reaches exactly one."""

    STOPPED = "stopped"
    REJECTED = "rejected"
    NOT_FOUND = "not_found"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    DRY_RUN = "dry_run"
    """Its guard is one that only records what would be called for."""


DEAD_OUTCOMES: Final = frozenset(
    {
        OutcomeKind.REJECTED,
        OutcomeKind.NOT_FOUND,
        OutcomeKind.EXHAUSTED,
        OutcomeKind.EXPIRED,
        OutcomeKind.QUARANTINED,
    }
)
"""The outcomes that a person may want to look at: dead letters."""


class State(StrEnum):
    """Where a request is that has no outcome yet."""

    QUEUED = "queued"
    CALLING = "calling"
    WAITING = "waiting"
    HELD = "held"
    """Kept back by a guard."""


class HeldFor(StrEnum):
    """Why a guard holds a request."""

    CANARY = "canary"
    """The first ones of its source are to end before."""
    TRIPPED = "tripped"
    """The guard has tripped: a person lets it go, or drops it."""
    TURN = "turn"
    """It was let go, and waits for others of its target."""
    RELEASED = "released"
    """It is held no more."""


class Verdict(StrEnum):
    """The judgement on one attempt."""

    STOPPED = "STOPPED"
    RETRY = "RETRY"
    REJECTED = "REJECTED"
    NOT_FOUND = "NOT_FOUND"


class Verified(StrEnum):
    """What the API said of the task after it had confirmed the stop."""

    PAUSED = "paused"
    RUNNING = "running"
    UNKNOWN = "unknown"
    """It could not be read, or was not found."""
    NOT_CHECKED = "not_checked"


class Attempt(Recorded):
    """One HTTP call, as the ledger records it."""

    number: int
    started_at: Moment
    duration_ms: float | None = None
    http_status: int | None = None
    code: int | None = None
    message: str | None = None
    error: str | None = None
    verdict: Verdict
    retry_in_s: float | None = None
    verified: Verified | None = None


class Join(Recorded):
    """Who joined a request, kept for audit."""

    source: str
    reason: str | None = None
    callback_url: str | None = None
    traceparent: str | None = None
    at: Moment


class RequestDocument(Recorded):
    """What an outcome and the status of an open request share."""

    request_id: str
    user_id: str
    task_id: str
    sub_user_id: str | None = None
    lane: Lane
    source: str
    reason: str | None = None
    issued_at: Moment | None = None
    """When its event happened, where that is not `accepted_at`."""
    not_after: Moment | None = None
    """The time limit, where it is not the default: `accepted_at` and STOPLINE_DEADLINE_S."""
    idempotency_key: str | None = None
    batch_id: str | None = None
    redrive_of: str | None = None
    callback_url: str | None = None
    traceparent: str | None = None
    """The context of the trace that it belongs to, if any."""
    accepted_at: Moment
    joined: tuple[Join, ...] = ()
    joined_count: int = 0
    attempts: tuple[Attempt, ...] = ()

    @property
    def target(self) -> Target:
        """What is to be stopped."""
        return Target(self.user_id, self.task_id, self.sub_user_id)


class Outcome(RequestDocument):
    """The terminal record of a request: what `AsyncResult(request_id).get()` returns."""

    outcome: OutcomeKind
    detail: str
    satisfied_by: str | None = None
    stopped_before: str | None = None
    """The request whose call had stopped the task already, and nobody told of a resume since."""
    finished_at: Moment
    verified: Verified = Verified.NOT_CHECKED
    """Whether the task was seen to be paused after the call that stopped it (STOPLINE_VERIFY)."""
    held_by: str | None = None
    """The source of a guard that held it for a while, or to its end."""


class OpenRequest(RequestDocument):
    """The status of a request that has no outcome yet."""

    outcome: None = None
    state: State
    next_at: Moment
    held_by: str | None = None
    """The source of the guard that holds it."""
    held_for: HeldFor | None = None


Status = Outcome | OpenRequest


class KeptOutcome(NamedTuple):
    """An outcome in the stream of outcomes, and its place there."""

    place: str
    outcome: Outcome
