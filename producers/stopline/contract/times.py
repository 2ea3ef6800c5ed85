"""Times: RFC 3339 in documents, whole microseconds since the epoch in the ledger."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator, PlainSerializer, TypeAdapter

from stopline.contract.validation import checked

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


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


_RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})?"
)


_ENDS: Final = ("0001-01-01", "9999-12-31")
"""Days that another zone may put outside of the calendar."""


def _no_number(value: object) -> object:
    """Refuse what pydantic would take for seconds since 1970: `20261125` is meant as a day."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        if str(value).startswith(_ENDS):
            msg = "the time is at the end of the calendar"
            raise ValueError(msg)
        return value
    msg = "a time like 2026-11-22T16:47:14Z is needed (RFC 3339)"
    raise ValueError(msg)


Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_no_number),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
]
_MOMENT: Final[TypeAdapter[datetime]] = TypeAdapter(Moment)


def parse_moment(text: str, field: str) -> datetime:
    """A time as requests carry it (RFC 3339, with a zone).

    Raises:
        InvalidRequestError: it is none; the message names the field.
    """
    return checked(_MOMENT, text, field)
