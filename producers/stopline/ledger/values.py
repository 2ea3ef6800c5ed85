"""What goes to the ledger and what comes back, as values: no Redis, no JSON, no scripts.

What there is one of for each call is a named tuple: a frozen dataclass takes four times as long to
make.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline.contract import (
        GateCause,
        Lane,
        OutcomeKind,
        Receipt,
        StopRequest,
        Target,
        Verdict,
        Verified,
    )

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """One call to Redis: a ledger script (`is_script`) or a plain command, by name.

    The reply to a `durable` one is given only when the server's append-only file is on disk.
    """

    name: str
    arguments: tuple[str | bytes | int, ...]
    parse: Callable[[Any], T]
    is_script: bool = True
    durable: bool = False


class Submission(NamedTuple):
    """A request on its way in, with what only the ledger needs to know.

    Attributes:
        request: the wish.
        place: its place in its batch, so that sending the batch again finds it.
        batch_id: of the batch that it is sent in, where the request itself names none.
        alias: its sender will look for the outcome under `request_id`, whatever it joins.
        redrive_of: the dead letter that this sends again.
        audit: what the audit trail is to say of it, if anything: JSON (`contract.AuditEntry`).
    """

    request: StopRequest
    place: int | None = None
    batch_id: str | None = None
    alias: bool = False
    redrive_of: str | None = None
    audit: str | None = None


class Accepted(NamedTuple):
    """A submission that was accepted: its receipt, and whether workers are to be told of it."""

    receipt: Receipt
    dispatch: bool


class Grant(NamedTuple):
    """An exclusive right to make one attempt; times are the ledger's, in microseconds.

    `lost` is how many claims in a row were lost with their worker before this one; `token` is the
    lease's. `traces` are the contexts of the traces that the request belongs to, its own and of
    those that joined it; None where they were not asked for.
    """

    request_id: str
    target: Target
    attempt: int
    not_after: int
    lease_end: int
    lost: int = 0
    token: str = ""
    traces: tuple[str, ...] | None = None


SuspectRoom = tuple[int, ...]
"""How many more requests an engine may claim that were lost once, twice or more often …"""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A request that became its target's active one and may be called for now."""

    request_id: str
    lane: Lane


@dataclass(frozen=True, slots=True)
class Claimed:
    """What claiming gave.

    `next_due` is when it is worth to claim what is due; after `claim` only where others of a batch
    wait for their turn, now. `shut` is why the gate is: what does not go through waits.
    """

    now: int
    grants: tuple[Grant, ...]
    promoted: tuple[Promotion, ...]
    shut: GateCause | None = None
    next_due: int | None = None


@dataclass(frozen=True, slots=True)
class Renewed:
    """Which leases were extended; somebody else may be calling for the others."""

    now: int
    kept: tuple[bool, ...]


class Record(NamedTuple):
    """What is written down of a call, as `contract.Attempt` says; the ledger knows the rest."""

    verdict: Verdict
    duration_ms: float
    http_status: int | None = None
    code: int | None = None
    message: str | None = None
    error: str | None = None
    verified: Verified | None = None


class Ended(NamedTuple):
    """The attempt settled the request: it has its outcome."""

    request_id: str
    token: str
    record: Record
    outcome: OutcomeKind
    detail: str


class Cause(StrEnum):
    """Why another attempt follows; each is counted for itself."""

    ANSWERED = "answered"
    """The reply spoke of this request and settled nothing: counts for `attempts_max`."""
    FAILED = "failed"
    """The upstream's fault: counts for `upstream_failures_max`."""
    BUSY = "busy"
    """The upstream has too much to do: the same."""
    REFUSED = "refused"
    """It refused the token (401): counts for nothing; it says nothing of this request."""
    FORBIDDEN = "forbidden"
    """It refused it for this (403), or for all: the same."""
    INTERRUPTED = "interrupted"
    """The worker's doing: counts for nothing."""


class Retry(NamedTuple):
    """The attempt settled nothing: another follows after the delay, unless a limit is reached.

    `least_us` is the least delay that the API asked for, `hold_us` that of everybody; `said` is
    what the call said of the API.
    """

    request_id: str
    token: str
    record: Record
    cause: Cause
    delay_us: int
    least_us: int = 0
    hold_us: int = 0
    said: str = ""


class Released(NamedTuple):
    """The call did not begin: others may take the request at once."""

    request_id: str
    token: str


Settlement = Ended | Retry | Released
"""How one attempt ended. `token` is the lease under which it was made."""


class Answer(StrEnum):
    """What settling one attempt came to."""

    ENDED = "ended"
    WAITING = "waiting"
    RELEASED = "released"
    LOST = "lost"
    """Its lease had ended: nothing changed."""


@dataclass(frozen=True, slots=True)
class Settled:
    """An answer for each settlement, and who is next."""

    answers: tuple[Answer, ...]
    promoted: tuple[Promotion, ...]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What went to make room for a message: bodies that were cut, messages that were dropped."""

    cut: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The ledger's time and its server's, in microseconds; they differ after a step back."""

    now: int
    server_now: int
