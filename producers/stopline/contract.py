"""The words of Stopline as types: what producers send, what they get, what is recorded.

Pure: no Celery, no Redis, no HTTP. Times in documents are RFC 3339, UTC, milliseconds; a field
that is absent means null. Inside the ledger times are whole microseconds since the epoch.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple, Self, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from stopline.errors import InvalidRequestError

T = TypeVar("T")

DISPATCH_TASK: Final = "stopline.dispatch"
STOP_TASK: Final = "stopline.stop"
MESSAGE_IDS_MAX: Final = 250
"""Request ids in one dispatch message, and requests in one ledger call."""
REQUEST_BYTES_MAX: Final = 8 * 1024
REASON_CHARACTERS_MAX: Final = 500

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Lane(StrEnum):
    """How urgent a request is; each lane is one Celery queue. In order of urgency."""

    EMERGENCY = "emergency"
    DEFAULT = "default"
    BULK = "bulk"

    @property
    def queue(self) -> str:
        """The name of the lane's Celery queue."""
        return f"stopline.{self.value}"

    @property
    def urgency(self) -> int:
        """A rank to compare lanes by: lower is more urgent."""
        return _URGENCY[self]


_URGENCY: Final = {lane: rank for rank, lane in enumerate(Lane)}


class ReceiptKind(StrEnum):
    """What accepting a request came to."""

    ACCEPTED = "accepted"
    JOINED = "joined"
    DUPLICATE = "duplicate"
    SATISFIED = "satisfied"
    SUPERSEDED = "superseded"


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


class Verdict(StrEnum):
    """The judgement on one attempt."""

    STOPPED = "STOPPED"
    RETRY = "RETRY"
    REJECTED = "REJECTED"
    NOT_FOUND = "NOT_FOUND"


def to_microseconds(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The UTC datetime that lies so many microseconds after the epoch."""
    return _EPOCH + microseconds * _MICROSECOND


def rfc3339(moment: datetime) -> str:
    """The moment as documents carry it: `2026-11-22T16:47:14.123Z`."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def new_request_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then random bits, so ids sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"  # as str(UUID(int=value)), in a third of its time
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_ID_PATTERN: Final = r"^[A-Za-z0-9._~-]{1,128}$"
_ID = re.compile(_ID_PATTERN)


def is_identifier(value: object) -> bool:
    """Whether the value may be used as an id: 1-128 of `[A-Za-z0-9._~-]`, not `.` or `..`."""
    return isinstance(value, str) and value not in {".", ".."} and _ID.fullmatch(value) is not None


def _no_dot_segment(value: str) -> str:
    if value in {".", ".."}:
        msg = "'.' and '..' would change the path of the call"
        raise ValueError(msg)
    return value


Identifier = Annotated[
    str,
    StringConstraints(pattern=_ID_PATTERN, min_length=1, max_length=128),
    AfterValidator(_no_dot_segment),
]
_RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})?"
)


def _no_number(value: object) -> object:
    """Refuse what pydantic would take for seconds since 1970: `20261125` is meant as a day."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    msg = "a time like 2026-11-22T16:47:14Z is needed (RFC 3339)"
    raise ValueError(msg)


Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_no_number),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Document(BaseModel):
    """What all documents share: unknown fields are errors, and nothing changes once built."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StopRequest(Document):
    """One wish to stop one target: what a producer sends.

    `task_id` is the upstream task, never a Celery task. `issued_at` is the time of the event
    behind the wish; without it the ledger takes the time of acceptance.
    """

    user_id: Identifier
    task_id: Identifier
    sub_user_id: Identifier | None = None
    lane: Lane = Lane.DEFAULT
    source: Name = "unknown"
    reason: Annotated[str, StringConstraints(max_length=REASON_CHARACTERS_MAX)] | None = None
    issued_at: Moment | None = None
    not_after: Moment | None = None
    idempotency_key: Name | None = None
    batch_id: Identifier | None = None
    request_id: Identifier = Field(default_factory=new_request_id)

    @property
    def target(self) -> str:
        """`user_id/task_id[/sub_user_id]`; ids have no slash, so it is unambiguous."""
        return "/".join(filter(None, (self.user_id, self.task_id, self.sub_user_id)))

    @classmethod
    def parse(cls, fields: object) -> Self:
        """Build a request from outside input.

        Raises:
            InvalidRequestError: naming the first field that is wrong, and why.
        """
        if not isinstance(fields, dict):
            raise InvalidRequestError("a stop request is a JSON object with named fields")
        try:
            size = len(orjson.dumps(fields, default=str))
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None
        if size > REQUEST_BYTES_MAX:
            raise InvalidRequestError(
                f"the request has {size} bytes as JSON; at most {REQUEST_BYTES_MAX} are allowed"
            )
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            field, reason = describe(error)
            raise InvalidRequestError(f"{field}: {reason}", field=field) from None


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


class Refusal(Document):
    """One request of many that was not accepted, and why; `index` is its place among them."""

    index: int
    kind: RefusalKind
    field: str | None = None
    reason: str


class Attempt(Document):
    """One HTTP call, as the ledger records it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    number: int
    started_at: Moment
    duration_ms: float | None = None
    http_status: int | None = None
    code: int | None = None
    message: str | None = None
    error: str | None = None
    verdict: Verdict
    retry_in_s: float | None = None


class Join(Document):
    """Who joined a request, kept for audit."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    source: str
    reason: str | None = None
    at: Moment


class RequestDocument(Document):
    """What an outcome and the status of an open request share."""

    # Documents come from the ledger, which a newer version may have written.
    model_config = ConfigDict(extra="ignore", frozen=True)

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
    accepted_at: Moment
    joined: tuple[Join, ...] = ()
    joined_count: int = 0
    attempts: tuple[Attempt, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return self.model_dump(mode="json")


class Outcome(RequestDocument):
    """The terminal record of a request: what `AsyncResult(request_id).get()` returns."""

    outcome: OutcomeKind
    detail: str
    satisfied_by: str | None = None
    finished_at: Moment


class OpenRequest(RequestDocument):
    """The status of a request that has no outcome yet."""

    outcome: None = None
    state: State
    next_at: Moment


Status = Outcome | OpenRequest


class Batch(Document):
    """Progress and report of a batch."""

    batch_id: str
    total: int
    pending: int
    outcomes: dict[OutcomeKind, int]
    receipts: dict[ReceiptKind, int]
    submitted_at: Moment
    finished_at: Moment | None = None

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return self.model_dump(mode="json")


class ApiState(StrEnum):
    """How the API is, as the calls of a process tell."""

    ANSWERS = "answers"
    AWAY = "away"
    """No reply, 5xx or 429 for seconds, and nothing else."""
    TOKEN_REFUSED = "token_refused"  # noqa: S105  # a state, no secret
    """401 or 403 for seconds, and nothing else."""


class ProcessRole(StrEnum):
    """What a worker process is there for."""

    CONSUMER = "consumer"
    """It takes messages from the queues."""
    ENGINE = "engine"
    """It makes calls."""


class Heartbeat(Document):
    """What a worker process last said of itself; times are the ledger's.

    `engines` are the ids of a consumer's engines: its own, a slash and a pid. `consumed_at` is when
    it last looked at its queues (null: paused, or its broker does not tell), `swept_at` when an
    engine last looked at what is due. `paused` are lanes whose messages somebody told it not to
    take. `api` is how the API is to its calls, `api_problem` what the last failed one said, and
    since `api_failing_at` all of them do.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    process_id: str
    role: ProcessRole
    host: str
    pid: int
    lanes: tuple[Lane, ...]
    beat_at: Moment
    consumed_at: Moment | None = None
    swept_at: Moment | None = None
    in_flight: int | None = None
    engines: tuple[str, ...] = ()
    paused: tuple[Lane, ...] = ()
    api: ApiState | None = None
    api_problem: str | None = None
    api_failing_at: Moment | None = None
    broker_reachable: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return self.model_dump(mode="json")


class DeadMessage(Document):
    """A queue message that no worker could handle, kept whole up to a cap.

    `body` is base64, cut off at the cap when `truncated`; what is cut cannot be redriven.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    message_id: str
    queue: str | None = None
    reason: str
    quarantined_at: Moment
    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] = Field(default_factory=dict)
    body: str
    truncated: bool = False

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return self.model_dump(mode="json")


DeadLetter = Outcome | DeadMessage


class CancelResult(StrEnum):
    """What cancelling one request came to."""

    CANCELLED = "cancelled"
    NO_FURTHER_ATTEMPT = "no_further_attempt"
    """A call is in flight: it may still succeed, but none follows."""
    ALREADY_FINISHED = "already_finished"
    UNKNOWN = "unknown"


class ResumeResult(Document):
    """What learning of a resumed target came to: ids that are superseded, or in flight."""

    superseded: tuple[str, ...] = ()
    in_flight: str | None = None


_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)
_MOMENT: Final[TypeAdapter[datetime]] = TypeAdapter(Moment)


def check_name(value: str, field: str) -> str:
    """A name of somebody, as `source` is one: 1 to 200 characters.

    Raises:
        InvalidRequestError: it is none; the message names the field.
    """
    return _checked(_NAME, value, field)


def parse_moment(text: str, field: str) -> datetime:
    """A time as requests carry it (RFC 3339, with a zone).

    Raises:
        InvalidRequestError: it is none; the message names the field.
    """
    return _checked(_MOMENT, text, field)


def _checked(kind: TypeAdapter[T], value: object, field: str) -> T:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise InvalidRequestError(f"{field}: {describe(error)[1]}", field=field) from None


def describe(error: ValidationError) -> tuple[str, str]:
    """The first field that pydantic found wrong, and why, without the value itself."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "request"
    reason = {
        "extra_forbidden": "this field is unknown",
        "missing": "this field is required",
        "timezone_aware": "the time needs a zone, for example a trailing Z",
        "string_pattern_mismatch": "1 to 128 of the characters A-Z a-z 0-9 . _ ~ - are allowed",
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    return field, reason
