"""What is asked of the ledger, as values: built and parsed by pure functions, run by an executor.

A `Command` knows its script (or plain Redis command), its arguments, and how to read the reply.
The sync and the asyncio ledger run the same commands, so there is one implementation of each verb.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import orjson

from stopline.contract import (
    Attempt,
    Batch,
    CancelResult,
    DeadLetter,
    DeadMessage,
    Join,
    Lane,
    OpenRequest,
    Outcome,
    OutcomeKind,
    Receipt,
    ReceiptKind,
    Refusal,
    RefusalKind,
    ResumeResult,
    State,
    Status,
    StopRequest,
    from_microseconds,
    to_microseconds,
)
from stopline.ledger import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")

_SECOND: Final = 1_000_000

_RECORD_FIELDS: Final = (
    "state",
    "target",
    "target_digest",
    "lane",
    "issued_at",
    "wish_at",
    "accepted_at",
    "not_after",
    "body",
    "batches",
    "attempt",
    "began_at",
    "token",
    "due_at",
    "lost",
    "attempts",
    "joined",
    "joined_count",
    "aliases",
    "cancelled",
)
"""As `FIELDS` in `scripts/_record.lua`; a test compares them."""

REFUSALS: Final[dict[RefusalKind, tuple[str | None, str]]] = {
    RefusalKind.CONFLICT: (
        "idempotency_key",
        "this idempotency key, request id or place in the batch was used for another target",
    ),
    RefusalKind.TOO_OLD: (
        "issued_at",
        "this is longer ago than the ledger remembers (STOPLINE_RESULT_TTL_S)",
    ),
    RefusalKind.NOT_AFTER_PASSED: ("not_after", "this time has passed"),
    RefusalKind.TOO_FAR: (
        "not_after",
        "this is later than outcomes are kept for (STOPLINE_RESULT_TTL_S)",
    ),
    RefusalKind.ALIASES: (
        None,
        "too many senders wait for this target under ids of their own; use a client",
    ),
    RefusalKind.MEMORY: (None, "Redis is close to its maxmemory"),
    RefusalKind.NOT_DEAD: (None, "this is no dead letter (any more)"),
}
"""Why the scripts refuse: the field that is wrong, and the reason for a person."""


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """One call to Redis: a ledger script (`is_script`) or a plain command, by name."""

    name: str
    arguments: tuple[str | bytes | int, ...]
    parse: Callable[[Any], T]
    is_script: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits that the scripts work by, all in seconds or counts."""

    deadline_s: float = 3600
    lease_s: float = 30
    look_again_s: float = 5
    attempts_max: int = 8
    claims_lost_max: int = 3
    result_ttl_s: int = 7 * 86400
    dead_letter_ttl_s: int = 14 * 86400
    idempotency_ttl_s: int = 86400

    def to_options(self) -> dict[str, int]:
        """The options that every script may read, times in the unit that their names say."""
        return {
            "deadline_us": round(self.deadline_s * _SECOND),
            "lease_us": round(self.lease_s * _SECOND),
            "look_again_us": round(self.look_again_s * _SECOND),
            "attempts_max": self.attempts_max,
            "claims_lost_max": self.claims_lost_max,
            "result_ttl_s": self.result_ttl_s,
            "dead_letter_ttl_s": self.dead_letter_ttl_s,
            "idempotency_ttl_s": self.idempotency_ttl_s,
        }


@dataclass(frozen=True, slots=True)
class Submission:
    """A request on its way in, with what only the ledger needs to know.

    Attributes:
        request: the wish.
        place: its place in its batch, so that sending the batch again finds it.
        alias: its sender will look for the outcome under `request_id`, whatever it joins.
        redrive_of: the dead letter that this sends again.
    """

    request: StopRequest
    place: int | None = None
    alias: bool = False
    redrive_of: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The reply to one submission: a receipt or a refusal, and whether to dispatch it."""

    receipt: Receipt | None
    refusal: Refusal | None
    dispatch: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """An exclusive right to make one attempt; times are the ledger's, in microseconds."""

    request_id: str
    target: str
    attempt: int
    not_after: int
    lease_end: int


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


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one attempt ended.

    Attributes:
        request_id: the request.
        token: the lease under which the call was made.
        follows: `end`, `retry` or `release`, as in `scripts/settle.lua`.
        members: the attempt's JSON members (no braces); empty for `release`.
        argument: for `end` outcome, line break, detail as JSON; for `retry` the delay in us.
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


def members(fields: dict[str, Any]) -> str:
    """A JSON object's members without its braces; nulls are left out."""
    present = {name: value for name, value in fields.items() if value is not None}
    return orjson.dumps(present).decode()[1:-1]


def json_string(text: str) -> str:
    """The text as a JSON string, quotes included."""
    return orjson.dumps(text).decode()


def _options(policy: Policy | None = None, **extra: object) -> bytes:
    return orjson.dumps({**(policy.to_options() if policy else {}), **extra})


def _text(value: bytes) -> str:
    return value.decode()


def _promotions(flat: Sequence[bytes]) -> tuple[Promotion, ...]:
    words = [_text(word) for word in flat]
    return tuple(
        Promotion(request_id, Lane(lane))
        for request_id, lane in zip(words[::2], words[1::2], strict=True)
    )


# --- accepting ---------------------------------------------------------------------------------


def _item(submission: Submission) -> tuple[str, ...]:
    request = submission.request
    joining = {"source": request.source, "reason": request.reason}
    body = {
        **joining,
        "idempotency_key": request.idempotency_key,
        "batch_id": request.batch_id,
        "redrive_of": submission.redrive_of,
    }
    return (
        request.request_id,
        request.target,
        keys.target_digest(request.target),
        request.lane.value,
        str(to_microseconds(request.issued_at)) if request.issued_at else "",
        str(to_microseconds(request.not_after)) if request.not_after else "",
        members(body),
        members(joining),
        request.idempotency_key or "",
        request.batch_id or "",
        "" if submission.place is None else str(submission.place),
        "1" if submission.alias else "",
    )


def _parse_accepted(submissions: Sequence[Submission], reply: Any) -> tuple[Accepted, ...]:
    fields = [_text(field) for field in reply[1]]
    rows = zip(fields[::4], fields[1::4], fields[2::4], fields[3::4], strict=True)
    return tuple(
        _accepted(index, submission.request, *row)
        for index, (submission, row) in enumerate(zip(submissions, rows, strict=True))
    )


def _accepted(
    index: int, request: StopRequest, kind: str, request_id: str, lane: str, dispatch: str
) -> Accepted:
    if kind == "refused":
        refused = RefusalKind(request_id)
        field, reason = REFUSALS[refused]
        refusal = Refusal(index=index, kind=refused, field=field, reason=reason)
        return Accepted(None, refusal, dispatch=False)
    # Built without validation: every value was validated on its way in (contract.StopRequest).
    receipt = Receipt.model_construct(
        request_id=request_id,
        receipt=ReceiptKind(kind),
        user_id=request.user_id,
        task_id=request.task_id,
        sub_user_id=request.sub_user_id,
        lane=Lane(lane),
    )
    return Accepted(receipt, None, dispatch=dispatch == "1")


def accept(
    policy: Policy, submissions: Sequence[Submission], *, expire_late: bool = False
) -> Command[tuple[Accepted, ...]]:
    """Take requests into the ledger.

    Args:
        policy: the limits.
        submissions: at most `MESSAGE_IDS_MAX`.
        expire_late: a `not_after` that has passed makes the outcome `expired`, not a refusal:
            for a message that waited in a queue.
    """
    fields = [field for submission in submissions for field in _item(submission)]
    return Command(
        "accept",
        (_options(policy, expire_late=expire_late), *fields),
        lambda reply: _parse_accepted(submissions, reply),
    )


def redrive(
    policy: Policy, letters: Sequence[tuple[str, Submission]]
) -> Command[tuple[Accepted, ...]]:
    """Send dead letters again: each id with the new request that takes its place."""
    fields = [field for old, new in letters for field in (old, *_item(new))]
    submissions = [new for _, new in letters]
    return Command(
        "redrive", (_options(policy), *fields), lambda reply: _parse_accepted(submissions, reply)
    )


# --- attempting --------------------------------------------------------------------------------


def _grants(flat: Sequence[bytes]) -> tuple[Grant, ...]:
    words = [_text(word) for word in flat]
    return tuple(
        Grant(request_id, target, int(attempt), int(not_after), int(lease_end))
        for request_id, target, attempt, not_after, lease_end in zip(
            *(words[field::5] for field in range(5)), strict=True
        )
    )


def _parse_claimed(reply: Any) -> Claimed:
    now, grants, promoted, *rest = reply
    next_due = int(rest[0]) if rest and rest[0] else None
    return Claimed(int(now), _grants(grants), _promotions(promoted), next_due)


def claim(policy: Policy, request_ids: Iterable[str], token: str) -> Command[Claimed]:
    """Claim requests by id; those that cannot be called for now are left as they are."""
    return Command("claim", (_options(policy, token=token), *request_ids), _parse_claimed)


def claim_due(policy: Policy, lanes: Sequence[Lane], token: str, *, limit: int) -> Command[Claimed]:
    """Claim up to `limit` due requests of some lanes, the most urgent first.

    The token is `engine:number`; the token of the engine's last sweep repeats that sweep.
    """
    ordered = sorted(lanes, key=lambda lane: lane.urgency)
    return Command(
        "claim_due", (_options(policy, token=token, limit=limit), *ordered), _parse_claimed
    )


def renew(policy: Policy, leases: Iterable[tuple[str, str]]) -> Command[Renewed]:
    """Extend leases, given as request id and token."""
    fields = [field for lease in leases for field in lease]
    return Command(
        "renew",
        (_options(policy), *fields),
        lambda reply: Renewed(int(reply[0]), tuple(bool(word) for word in reply[1])),
    )


def _parse_settled(reply: Any) -> Settled:
    return Settled(tuple(_text(word) for word in reply[1]), _promotions(reply[2]))


def settle(policy: Policy, settlements: Iterable[Settlement]) -> Command[Settled]:
    """Record finished attempts."""
    fields = [
        field
        for one in settlements
        for field in (one.request_id, one.token, one.follows, one.members, one.argument)
    ]
    return Command("settle", (_options(policy), *fields), _parse_settled)


# --- steering ----------------------------------------------------------------------------------

Promotions = tuple[Promotion, ...]


def cancel(
    policy: Policy, request_ids: Sequence[str], by: str
) -> Command[tuple[tuple[CancelResult, ...], Promotions]]:
    """Cancel requests in the name of `by`."""
    detail = json_string(f"Cancelled by {by}.")
    return Command(
        "cancel",
        (_options(policy, detail=detail), *request_ids),
        lambda reply: (
            tuple(CancelResult(_text(word)) for word in reply[0]),
            _promotions(reply[1]),
        ),
    )


def resume(policy: Policy, target: str, at: int | None) -> Command[tuple[ResumeResult, Promotions]]:
    """Learn that a target was resumed, `at` in microseconds (None: now, by the ledger's clock)."""
    return Command(
        "resume",
        (_options(policy), keys.target_digest(target), "" if at is None else str(at)),
        lambda reply: (
            ResumeResult(
                superseded=tuple(_text(request_id) for request_id in reply[0]),
                in_flight=_text(reply[1]) or None,
            ),
            _promotions(reply[2]),
        ),
    )


def discard(letter_ids: Sequence[str]) -> Command[tuple[bool, ...]]:
    """Drop dead letters; the reply says for each whether it was one."""
    return Command(
        "discard", (_options(), *letter_ids), lambda reply: tuple(bool(word) for word in reply)
    )


def quarantine(policy: Policy, message_id: str, fields: dict[str, Any]) -> Command[None]:
    """Keep a queue message that no worker can handle; fields as in `DeadMessage`."""
    return Command(
        "quarantine", (_options(policy), message_id, members(fields)), lambda _reply: None
    )


# --- reading -----------------------------------------------------------------------------------


def parse_result(raw: bytes) -> Outcome | None:
    """The outcome in a value of Celery's results backend, or None where it is none of ours."""
    result = orjson.loads(raw)["result"]
    if not isinstance(result, dict) or "outcome" not in result:
        return None
    return Outcome.model_validate(result)


def _parse_open(request_id: str, record: dict[str, str]) -> OpenRequest:
    user_id, task_id, *sub_user_id = record["target"].split("/")
    return OpenRequest.model_validate(
        {
            **orjson.loads("{" + record["body"] + "}"),
            "request_id": request_id,
            "user_id": user_id,
            "task_id": task_id,
            "sub_user_id": sub_user_id[0] if sub_user_id else None,
            "lane": record["lane"],
            "state": State(record["state"]),
            "joined": _parse_list(Join, record.get("joined", "")),
            "joined_count": int(record.get("joined_count") or 0),
            "attempts": _parse_list(Attempt, record.get("attempts", "")),
            "issued_at": from_microseconds(int(record["issued_at"])),
            "not_after": from_microseconds(int(record["not_after"])),
            "accepted_at": from_microseconds(int(record["accepted_at"])),
            "next_at": from_microseconds(int(record["due_at"])),
        }
    )


def _parse_list(model: type[Attempt | Join], objects: str) -> list[Attempt | Join]:
    return [model.model_validate(value) for value in orjson.loads(f"[{objects}]")]


def parse_record(raw: bytes) -> dict[str, str]:
    """The fields of an open request by name, as text."""
    return dict(zip(_RECORD_FIELDS, raw.decode().split("\n"), strict=False))


@dataclass(frozen=True, slots=True)
class Alias:
    """An id that has no request of its own: the one to follow."""

    request_id: str


def status(request_id: str) -> Command[Status | Alias | None]:
    """Outcome or state of a request; None where the ledger does not know it."""

    def parse(reply: Sequence[bytes | None]) -> Status | Alias | None:
        raw_result, raw_record = reply
        if raw_result is not None and (outcome := parse_result(raw_result)) is not None:
            return outcome
        if raw_record is None:
            return None
        record = parse_record(raw_record)
        if record["state"] == "alias":
            return Alias(record["target"])
        return _parse_open(request_id, record)

    return Command(
        "MGET", (keys.result(request_id), keys.record(request_id)), parse, is_script=False
    )


def outcome(request_id: str) -> Command[Outcome | None]:
    """The outcome of a request, or None where there is none yet."""
    return Command(
        "GET",
        (keys.result(request_id),),
        lambda raw: None if raw is None else parse_result(raw),
        is_script=False,
    )


def batch(batch_id: str) -> Command[Batch | None]:
    """Progress of a batch; None where the ledger does not know it."""

    def parse(reply: Sequence[bytes] | dict[bytes, bytes]) -> Batch | None:
        pairs = (
            reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        )
        fields = {_text(name): _text(value) for name, value in pairs}
        return _parse_batch(batch_id, fields) if fields else None

    return Command("HGETALL", (keys.batch(batch_id),), parse, is_script=False)


def _parse_batch(batch_id: str, fields: dict[str, str]) -> Batch:
    finished_at = fields.get("finished_at")
    return Batch(
        batch_id=batch_id,
        total=int(fields.get("total", 0)),
        pending=int(fields.get("pending", 0)),
        outcomes={kind: int(fields.get(f"outcome:{kind}", 0)) for kind in OutcomeKind},
        receipts={kind: int(fields.get(f"receipt:{kind}", 0)) for kind in ReceiptKind},
        submitted_at=from_microseconds(int(fields["submitted_at"])),
        finished_at=from_microseconds(int(finished_at)) if finished_at else None,
    )


def batch_chunks(batch_id: str) -> Command[tuple[str, ...]]:
    """The keys that hold the ids of a batch, a hundred each."""
    return Command(
        "SMEMBERS",
        (keys.batch_chunks(batch_id),),
        lambda reply: tuple(keys.batch_places(batch_id, chunk) for chunk in _sorted_chunks(reply)),
        is_script=False,
    )


def _sorted_chunks(reply: Iterable[bytes]) -> list[str]:
    return sorted((_text(chunk) for chunk in reply), key=lambda chunk: (len(chunk), chunk))


def batch_ids(chunk_key: str) -> Command[tuple[str, ...]]:
    """The request ids of one chunk of a batch."""
    return Command(
        "HVALS",
        (chunk_key,),
        lambda reply: tuple(dict.fromkeys(_text(value).split(" ")[0] for value in reply)),
        is_script=False,
    )


def dead_ids(first: int, last: int) -> Command[tuple[str, ...]]:
    """Ids of dead letters by age, the oldest first; a range as of ZRANGE."""
    return Command(
        "ZRANGE",
        (keys.DEAD, first, last),
        lambda reply: tuple(_text(letter_id) for letter_id in reply),
        is_script=False,
    )


def dead_count() -> Command[int]:
    """How many dead letters there are."""
    return Command("ZCARD", (keys.DEAD,), int, is_script=False)


def is_dead(letter_id: str) -> Command[bool]:
    """Whether an id is in the index of dead letters."""
    return Command(
        "ZSCORE", (keys.DEAD, letter_id), lambda score: score is not None, is_script=False
    )


def dead_letters(letter_ids: Sequence[str]) -> Command[tuple[DeadLetter | None, ...]]:
    """The documents of dead letters; None where one's time is over."""
    names = [key for one in letter_ids for key in (keys.result(one), keys.message(one))]

    def parse(reply: Sequence[bytes | None]) -> tuple[DeadLetter | None, ...]:
        return tuple(
            _parse_letter(result, message)
            for result, message in zip(reply[::2], reply[1::2], strict=True)
        )

    return Command("MGET", tuple(names), parse, is_script=False)


def _parse_letter(result: bytes | None, message: bytes | None) -> DeadLetter | None:
    if message is not None:
        return DeadMessage.model_validate(orjson.loads(message))
    return parse_result(result) if result is not None else None


def ping() -> Command[bool]:
    """Whether the ledger answers."""
    return Command("PING", (), bool, is_script=False)


def info(section: str) -> Command[dict[str, Any]]:
    """A section of the server's INFO, as redis-py parses it."""
    return Command("INFO", (section,), dict, is_script=False)


def config(name: str) -> Command[str | None]:
    """A setting of the server; None where it does not tell."""

    def parse(reply: Any) -> str | None:
        values = (
            reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        )
        value = values.get(name, values.get(name.encode()))
        return value.decode() if isinstance(value, bytes) else value

    return Command("CONFIG GET", (name,), parse, is_script=False)


def server_time() -> Command[int]:
    """The server's time in microseconds."""
    return Command("TIME", (), _parse_time, is_script=False)


def _parse_time(reply: Sequence[int | bytes]) -> int:
    return int(reply[0]) * _SECOND + int(reply[1])
