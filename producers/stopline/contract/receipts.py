"""What a producer gets at once."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from stopline.contract.document import Document
from stopline.errors import IdempotencyConflictError, InvalidRequestError, LedgerFullError

if TYPE_CHECKING:
    from stopline.contract.lanes import Lane


class ReceiptKind(StrEnum):
    """What accepting a request came to."""

    ACCEPTED = "accepted"
    JOINED = "joined"
    DUPLICATE = "duplicate"
    SATISFIED = "satisfied"
    SUPERSEDED = "superseded"
    HELD = "held"
    """A guard keeps it back (`contract.Guard`)."""


class Receipt(NamedTuple):
    """What a producer gets at once; `request_id` is the one to follow.

    No `Document`: what is in it was validated on its way in, and building it again for each of many
    requests took longer than sending them.
    """

    request_id: str
    receipt: ReceiptKind
    user_id: str
    task_id: str
    sub_user_id: str | None
    lane: Lane

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return self._asdict()


class RefusalKind(StrEnum):
    """Why the ledger did not accept a request."""

    CONFLICT = "conflict"
    TOO_OLD = "too_old"
    NOT_AFTER_PASSED = "not_after_passed"
    TOO_FAR = "too_far"
    ALIASES = "aliases"
    BATCHES = "batches"
    MEMORY = "memory"
    NOT_DEAD = "not_dead"
    REVOKED = "revoked"


class Refusal(Document):
    """One request of many that was not accepted, and why; `index` is its place among them."""

    index: int
    kind: RefusalKind
    field: str | None = None
    reason: str

    def as_error(self) -> InvalidRequestError | LedgerFullError:
        """The error that says the same, for who sent one request."""
        if self.kind is RefusalKind.MEMORY:
            return LedgerFullError(
                "Redis is close to its maxmemory: new requests are refused, so that open ones can "
                "settle. Raise maxmemory, or wait for outcomes."
            )
        conflict = self.kind is RefusalKind.CONFLICT
        error = IdempotencyConflictError if conflict else InvalidRequestError
        text = f"{self.field}: {self.reason}" if self.field else self.reason
        return error(text, field=self.field)


class CancelResult(StrEnum):
    """What cancelling one request came to."""

    CANCELLED = "cancelled"
    NO_FURTHER_ATTEMPT = "no_further_attempt"
    """A call is in flight: it may still succeed, but none follows."""
    ALREADY_FINISHED = "already_finished"
    UNKNOWN = "unknown"
    NOT_OWN = "not_own"
    """Others asked for it, or asked as well, and only one's own was to be cancelled."""


class HoldResult(StrEnum):
    """What letting a held request go, or dropping it, came to."""

    RELEASED = "released"
    WAITING = "waiting"
    """It goes when others of its target have ended."""
    SATISFIED = "satisfied"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NOT_HELD = "not_held"
    UNKNOWN = "unknown"


class ResumeResult(Document):
    """What learning of a resumed target came to: ids that are superseded, or in flight."""

    superseded: tuple[str, ...] = ()
    in_flight: str | None = None
