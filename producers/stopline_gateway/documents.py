"""Documents of the gateway's own: what bodies hold, and replies. The others are the contract's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stopline.contract import (
    Batch,
    CancelResult,
    DeadFilter,
    DeadMessage,
    Document,
    GateCause,
    Guard,
    HoldResult,
    Identifier,
    Lane,
    LanePause,
    Moment,
    OpenRequest,
    Outcome,
    OutcomeKind,
    ReceiptKind,
    Trip,
)

_IDS_MAX = 1_000


class ReceiptDocument(BaseModel):
    """What became of a stop request at once; `request_id` is the one to follow."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "request_id": "019abf2e-5d0c-7c3e-9d57-2f6d3a8b1c44",
                "receipt": "accepted",
                "user_id": "5832d184",
                "task_id": "f232d184",
                "sub_user_id": None,
                "lane": "default",
            }
        }
    )

    request_id: str
    receipt: ReceiptKind
    user_id: str
    task_id: str
    sub_user_id: str | None
    lane: Lane


class ResumeRequest(Document):
    """A task was resumed: stops that were issued before are superseded. `at`: now if left out."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"user_id": "5832d184", "task_id": "f232d184"}}
    )

    user_id: Identifier
    task_id: Identifier
    sub_user_id: Identifier | None = None
    at: Moment | None = None


class StopPage(BaseModel):
    """Requests; `next` is the `cursor` of those that follow, even where a page has none."""

    stops: list[Outcome | OpenRequest]
    next: str | None
    looked_at: int


class CancelDocument(BaseModel):
    """What cancelling a request came to."""

    request_id: str
    result: CancelResult


class BatchPage(BaseModel):
    """Batches, the newest first; `next` is the `cursor` of those before them."""

    batches: list[Batch]
    next: str | None


class CancelledBatch(BaseModel):
    """What cancelling the requests of a batch came to, counted."""

    batch_id: str
    results: dict[CancelResult, int]


class RefusedLine(BaseModel):
    """A line of a batch that was not accepted; the first is number 1."""

    line: int
    field: str | None
    reason: str


class BatchReply(BaseModel):
    """What became of the lines of a batch: receipts by kind, and the first lines that were refused.

    With `dry_run` nothing was sent: they tell what would have become of them.
    """

    batch_id: str
    lines: int
    receipts: dict[ReceiptKind, int]
    refused: int
    refused_lines: list[RefusedLine]
    dry_run: bool


def _one_of_these(schema: dict[str, Any]) -> None:
    """What a schema of optional fields cannot say: one of them, and not null."""
    for field in schema["properties"].values():
        kinds = [kind for kind in field.pop("anyOf", ()) if kind != {"type": "null"}]
        field.pop("default", None)
        field.update(*kinds)
    schema["properties"]["filter"]["minProperties"] = 1
    schema["oneOf"] = [{"required": [name]} for name in schema["properties"]]
    schema["example"] = {"filter": {"outcome": "exhausted"}}


class Letters(Document):
    """Which dead letters are meant: exactly one of these; a filter says something."""

    model_config = ConfigDict(json_schema_extra=_one_of_these)

    ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=_IDS_MAX)] | None = None
    filter: DeadFilter | None = None
    all: Literal[True] | None = None

    @field_validator("ids", "filter", "all", mode="before")
    @classmethod
    def _is_not_null(cls, value: object) -> object:
        if value is None:
            msg = "leave it out where it is not meant"
            raise ValueError(msg)
        return value


class DeadPage(BaseModel):
    """Dead letters, the newest first; `next` is the `cursor` of those that follow."""

    letters: list[Outcome | DeadMessage]
    next: str | None


class Redriven(BaseModel):
    """What became of dead letters that were to be sent again.

    Of requests the receipts of the new ones, by the id of the old; of messages how many went back
    to their queues. `kept` are ids of messages that cannot be (kept only in part, or of a stream),
    the first hundred; `unknown` are ids that are none, or no longer. Where there are `more`, a
    repeated call goes on.
    """

    receipts: dict[str, ReceiptDocument]
    messages: int
    kept: list[str]
    unknown: list[str]
    more: bool


class Discarded(BaseModel):
    """How many dead letters were dropped. Where there are `more`, a repeated call goes on."""

    discarded: int
    kept: list[str]
    unknown: list[str]
    more: bool


class RuleResult(BaseModel):
    """What became of a rule that fired (`accepted`, `resumed`, `refused`), or `failed`."""

    rule: str
    status: str
    receipt: ReceiptDocument | None = None
    reason: str | None = None


class EventResult(BaseModel):
    """What became of an event.

    `status` is `accepted` (see the receipt), `resumed`, `ruled` (see the rules), `failed` (no rule
    could say anything, and one failed), `ignored` (its type means nothing here) or `refused` (see
    the problem). Without a `time` of its own, or with one that is still to come, it
    counts as of its arrival.
    """

    id: str | None
    source: str | None
    status: str
    receipt: ReceiptDocument | None = None
    time: str
    """`event` or `arrival`: where the time comes from that decides what it supersedes."""
    problem: dict[str, Any] | None = None
    rules: list[RuleResult] | None = None


class EventResults(BaseModel):
    """What became of each event of a batch, in its order, and how many of each status."""

    results: list[EventResult]
    counts: dict[str, int]


class ProblemDocument(BaseModel):
    """What is wrong (RFC 9457); `field` is the one at fault. docs/gateway.md explains the types."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "urn:stopline:problem:invalid-request",
                "title": "A field is wrong; nothing was accepted.",
                "status": 422,
                "detail": "user_id: this field is required",
                "field": "user_id",
            }
        },
    )

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


class LanePauseRequest(Document):
    """A lane is to be paused: for how many seconds (a day at most), and why."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"lasts_s": 1800, "reason": "the vendor works on its API"}}
    )

    lasts_s: Annotated[float, Field(strict=True, ge=1, le=86_400, allow_inf_nan=False)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class BatchPauseRequest(Document):
    """A batch is to be paused, and why."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "this was the wrong list"}})

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class BatchRedriveRequest(Document):
    """Which dead letters of a batch are to be sent again: all, or those that ended so, and so."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcomes": ["exhausted"]}})

    outcomes: Annotated[tuple[OutcomeKind, ...], Field(max_length=16)] = ()
    reason: Annotated[str, Field(max_length=500)] | None = None
    """Only where the outcome's detail has this text, in any case of letters."""


class RedrivenBatch(BaseModel):
    """How many dead letters of a batch were sent again: receipts of the new requests, counted."""

    batch_id: str
    redriven: int
    receipts: dict[ReceiptKind, int]


class HistoryPage(BaseModel):
    """Outcomes from the archive, the newest first; `next` is the `cursor` of those that follow."""

    outcomes: list[Outcome]
    next: str | None


class GateReply(BaseModel):
    """Whether calls are made: `cause` says why not (null: they are), `pauses` where not."""

    at: Moment
    cause: GateCause | None
    since: Moment | None
    said: str | None
    probe_at: Moment | None
    hold_until: Moment | None
    refused: int
    failed: int
    looked_at: int
    room: float | None
    pauses: list[LanePause]


class GuardRules(Document):
    """All guards that there are to be; `version` is of those that you saw."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "guards": [{"source": "policy:*", "limit": {"requests": 200, "window_s": 60}}]
            }
        }
    )

    guards: Annotated[tuple[Guard, ...], Field(max_length=200)]
    version: str | None = None


class GuardDocument(BaseModel):
    """A guard, how it is, and how many requests it holds; `guard` is null of one that is gone."""

    source: str
    guard: Guard | None
    trip: Trip | None
    tripped_at: Moment | None
    resets_at: Moment | None
    held: int
    oldest_held_at: Moment | None
    canary_done: int | None
    canary_failed: int | None


class GuardsReply(BaseModel):
    """All guards; `version` is for putting others in their place."""

    guards: list[GuardDocument]
    version: str


class HeldPage(BaseModel):
    """Some held requests, and the cursor of the next page."""

    stops: list[OpenRequest]
    next: str | None


class Holds(Document):
    """Which held requests are meant: by their ids, all of a guard, or all there are."""

    model_config = ConfigDict(json_schema_extra={"example": {"guard": "policy:*"}})

    ids: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=_IDS_MAX)] | None = None
    guard: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    all: bool | None = None


class HoldResults(BaseModel):
    """What came of held requests, counted; `more`: there are more, call again."""

    results: dict[HoldResult, int]
    more: bool


class Ready(BaseModel):
    """Whether the gateway can do its work; `problems` says what keeps it from that."""

    ready: bool
    problems: list[str]
    warnings: list[str]
