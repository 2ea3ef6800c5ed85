"""What goes to the ledger and what comes back, as values: no Redis, no JSON, no scripts.

What there is one of for each call is a named tuple: a frozen dataclass takes four times as long to
make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline.contract import Lane, Receipt, Refusal, StopRequest

T = TypeVar("T")

_SECOND: Final = 1_000_000


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


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the scripts work by, all in seconds or counts."""

    deadline_s: float = 7200
    lease_s: float = 30
    look_again_s: float = 5
    attempts_max: int = 8
    """Of attempts whose replies spoke of the request and settled nothing."""
    upstream_failures_max: int | None = None
    """Of attempts that failed by the upstream's fault; None: as many as fit before the deadline."""
    claims_lost_max: int = 3
    suspect_wait_s: float = 0.25
    heartbeat_ttl_s: int = 120
    durable: bool = False
    result_ttl_s: int = 7 * 86400
    dead_letter_ttl_s: int = 14 * 86400
    idempotency_ttl_s: int = 86400

    def to_options(self) -> dict[str, int]:
        """The options that every script may read, times in the unit that their names say."""
        rare = {"durable": 1} if self.durable else {}
        if self.upstream_failures_max is not None:
            rare["upstream_failures_max"] = self.upstream_failures_max
        return rare | {
            "deadline_us": round(self.deadline_s * _SECOND),
            "lease_us": round(self.lease_s * _SECOND),
            "look_again_us": round(self.look_again_s * _SECOND),
            "attempts_max": self.attempts_max,
            "claims_lost_max": self.claims_lost_max,
            "suspect_wait_us": round(self.suspect_wait_s * _SECOND),
            "result_ttl_s": self.result_ttl_s,
            "dead_letter_ttl_s": self.dead_letter_ttl_s,
            "heartbeat_ttl_s": self.heartbeat_ttl_s,
            "idempotency_ttl_s": self.idempotency_ttl_s,
        }


class Submission(NamedTuple):
    """A request on its way in, with what only the ledger needs to know.

    Attributes:
        request: the wish.
        place: its place in its batch, so that sending the batch again finds it.
        batch_id: of the batch that it is sent in, where the request itself names none.
        alias: its sender will look for the outcome under `request_id`, whatever it joins.
        redrive_of: the dead letter that this sends again.
    """

    request: StopRequest
    place: int | None = None
    batch_id: str | None = None
    alias: bool = False
    redrive_of: str | None = None


class Accepted(NamedTuple):
    """The reply to one submission: a receipt or a refusal, and whether to dispatch it."""

    receipt: Receipt | None
    refusal: Refusal | None
    dispatch: bool


class Grant(NamedTuple):
    """An exclusive right to make one attempt; times are the ledger's, in microseconds.

    `lost` is how many claims in a row were lost with their worker before this one; `token` is the
    lease's.
    """

    request_id: str
    target: str
    attempt: int
    not_after: int
    lease_end: int
    lost: int = 0
    token: str = ""


SuspectRoom = tuple[int, ...]
"""How many more requests an engine may claim that were lost once, twice or more often …"""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A request that became its target's active one and may be called for now."""

    request_id: str
    lane: Lane


@dataclass(frozen=True, slots=True)
class Claimed:
    """What claiming gave; `next_due` is known only after `claim_due`."""

    now: int
    grants: tuple[Grant, ...]
    promoted: tuple[Promotion, ...]
    next_due: int | None = None


@dataclass(frozen=True, slots=True)
class Renewed:
    """Which leases were extended; somebody else may be calling for the others."""

    now: int
    kept: tuple[bool, ...]


class Settlement(NamedTuple):
    """How one attempt ended.

    Attributes:
        request_id: the request.
        token: the lease under which the call was made.
        follows: `end`, `answered`, `failed`, `interrupted` or `release`: see `scripts/settle.lua`.
        members: the attempt's JSON members (no braces); empty for `release`.
        argument: for `end` outcome, line break, detail as JSON; where another attempt follows, the
            delay in microseconds.
    """

    request_id: str
    token: str
    follows: str
    members: str = ""
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """A word for each settlement (`ended`, `waiting`, `released`, `lost`), and who is next."""

    words: tuple[str, ...]
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
