"""Ids and names: what may be one, and how a new one is made."""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints, TypeAdapter

from stopline.contract.validation import checked


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
TraceParent = Annotated[
    str, StringConstraints(pattern=r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
]
"""The context of a trace (W3C Trace Context, version 00)."""
_TRACE_PARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
NAME_CHARACTERS_MAX: Final = 200
"""Of a source, and of an idempotency key."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARACTERS_MAX)]
_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


def is_trace_parent(value: object) -> bool:
    """Whether a value is the context of a trace; others are passed over, as the standard has it."""
    return isinstance(value, str) and _TRACE_PARENT.fullmatch(value) is not None


def check_name(value: str, field: str) -> str:
    """A name of somebody, as `source` is one: 1 to 200 characters.

    Raises:
        InvalidRequestError: it is none; the message names the field.
    """
    return checked(_NAME, value, field)


def short_key(key: str) -> str:
    """An idempotency key made of other names: a digest in its place where it is too long."""
    if len(key) <= NAME_CHARACTERS_MAX:
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'backslashreplace')).hexdigest()}"
