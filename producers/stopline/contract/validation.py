"""What is wrong with a value, said without repeating it."""

from __future__ import annotations

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from stopline.errors import InvalidRequestError

T = TypeVar("T")


def checked(kind: TypeAdapter[T], value: object, field: str) -> T:
    """The value as its kind has it.

    Raises:
        InvalidRequestError: it is none; the message names the field.
    """
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
