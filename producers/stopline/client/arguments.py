"""What both clients take and give: arguments made into requests, and results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from stopline.client.verbs import AuditPlace
from stopline.contract import (
    Lane,
    Outcome,
    Receipt,
    Refusal,
    StopRequest,
    Target,
    is_identifier,
    new_request_id,
    to_microseconds,
)
from stopline.errors import InvalidRequestError, OutcomeTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from stopline.ledger.queries import Progress


class StopFields(TypedDict, total=False):
    """The optional fields of a stop request: see `StopClient.stop` for what each means."""

    sub_user_id: str | None
    lane: Lane | str
    source: str
    reason: str | None
    issued_at: datetime | str | None
    not_after: datetime | str | None
    idempotency_key: str | None
    batch_id: str | None
    callback_url: str | None
    request_id: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """What submitting a batch came to, in the order of its requests."""

    batch_id: str
    results: tuple[Receipt | Refusal, ...]

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of those that were accepted."""
        return tuple(one for one in self.results if isinstance(one, Receipt))

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The others."""
        return tuple(one for one in self.results if isinstance(one, Refusal))


def request_of(user_id: str, task_id: str, fields: Mapping[str, Any]) -> StopRequest:
    """A checked request from the arguments of `stop`; raises `InvalidRequestError`."""
    return StopRequest.parse({"user_id": user_id, "task_id": task_id, **fields})


def requests_of(requests: Iterable[StopRequest | Mapping[str, Any]]) -> list[StopRequest]:
    """All requests, or the error of the first bad one: a bad batch sends nothing."""
    parsed = []
    for index, request in enumerate(requests):
        try:
            parsed.append(
                request if isinstance(request, StopRequest) else StopRequest.parse(dict(request))
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(f"request {index}: {error}", field=error.field) from None
    return parsed


def batch_id_of(batch_id: str | None) -> str:
    """A checked batch id, or a new one; raises `InvalidRequestError`."""
    if batch_id is None:
        return new_request_id()
    if not is_identifier(batch_id):
        raise InvalidRequestError(
            "batch_id: 1 to 128 of the characters A-Z a-z 0-9 . _ ~ - are allowed", field="batch_id"
        )
    return batch_id


def moment_of(at: datetime | None, field: str) -> int | None:
    """Microseconds of a time that has a zone; raises `InvalidRequestError`."""
    if at is None:
        return None
    if at.tzinfo is None:
        raise InvalidRequestError(f"{field}: the time needs a zone", field=field)
    return to_microseconds(at)


def audit_place(
    since: datetime | None, until: datetime | None, *, newest_first: bool
) -> AuditPlace:
    """Where to begin in the audit trail; raises `InvalidRequestError`."""
    first, last = moment_of(since, "since"), moment_of(until, "until")
    return AuditPlace(
        "-" if first is None else str(first // 1000),
        "+" if last is None else str(last // 1000),
        newest_first,
    )


def target_of(user_id: str, task_id: str, sub_user_id: str | None) -> Target:
    """The checked target of these ids; raises `InvalidRequestError`."""
    return request_of(user_id, task_id, {"sub_user_id": sub_user_id}).target


def outcome_of(found: Outcome | Progress) -> Outcome | None:
    """What a waiter gets: the outcome, or None while it is open or where nobody knows it."""
    return found if isinstance(found, Outcome) else None


def no_outcome(request_id: str, timeout_s: float | None) -> OutcomeTimeoutError:
    """The error of a waiter whose time is over."""
    after = "" if timeout_s is None else f" after {timeout_s:g} s"
    return OutcomeTimeoutError(
        f"Request {request_id} has no outcome{after}; 'stopline status {request_id}' says "
        "where it is."
    )
