"""A stop request: what a producer sends."""

from __future__ import annotations

from typing import Annotated, Final, Self

import orjson
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from stopline.contract.callbacks import CallbackUrl
from stopline.contract.document import Document
from stopline.contract.lanes import Lane
from stopline.contract.names import Identifier, Name, TraceParent, new_request_id
from stopline.contract.targets import Target
from stopline.contract.times import Moment
from stopline.contract.validation import checked, describe
from stopline.errors import InvalidRequestError

REQUEST_BYTES_MAX: Final = 8 * 1024
REASON_CHARACTERS_MAX: Final = 500


Reason = Annotated[str, StringConstraints(max_length=REASON_CHARACTERS_MAX)]
_REASON: Final[TypeAdapter[str]] = TypeAdapter(Annotated[Reason, StringConstraints(min_length=1)])


def check_reason(value: str) -> str:
    """Why a person does something: 1 to 500 characters.

    Raises:
        InvalidRequestError: it is none.
    """
    return checked(_REASON, value, "reason")


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
    reason: Reason | None = None
    issued_at: Moment | None = None
    not_after: Moment | None = None
    idempotency_key: Name | None = None
    batch_id: Identifier | None = None
    callback_url: CallbackUrl | None = None
    """Where the outcome is told, too, by `stopline outcomes run`, if its host is allowed there."""
    traceparent: TraceParent | None = None
    """The context of the trace that it belongs to, if any."""
    request_id: Identifier = Field(default_factory=new_request_id)

    @property
    def target(self) -> Target:
        """What is to be stopped."""
        return Target(self.user_id, self.task_id, self.sub_user_id)

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
