"""JSON that came from outside: what one reader takes for this and another for that is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import orjson

from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NOT_JSON: Final = "no JSON"


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text (RFC 8259, UTF-8).

    Raises:
        InvalidRequestError: it is none, is nested more than a thousand deep, has NaN or Infinity,
            or an object that has a name twice: one who reads the first, and one who reads the
            last, would do different things (RFC 8259 §4).
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(_told(raw, error)) from None
    if not _has_each_name_once(raw, value):
        _refuse_doubles(raw)
    return value


def _told(raw: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return f"no UTF-8 at byte {wrong.start + 1}"
    return f"{_NOT_JSON}: {error.msg} (column {error.colno})"


def _has_each_name_once(raw: bytes, value: object) -> bool:
    """Whether that can be told by counting quotes, as in a flat object without backslashes."""
    if not isinstance(value, dict):
        return not isinstance(value, list)
    if b"\\" in raw:
        return False
    texts = 0
    for one in value.values():
        if isinstance(one, str):
            texts += 1
        elif isinstance(one, dict | list):
            return False
    return raw.count(b'"') == 2 * (len(value) + texts)


def _refuse_doubles(raw: bytes) -> None:
    try:
        json.loads(raw, object_pairs_hook=_pairs)
    except RecursionError:
        raise InvalidRequestError(f"{_NOT_JSON}: it is nested too deep") from None
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"no UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise InvalidRequestError(f"{_NOT_JSON}: {error.msg} (column {error.colno})") from None
    except ValueError as error:  # a number of thousands of digits
        raise InvalidRequestError(f"{_NOT_JSON}: {error}") from None


def _pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            shown = name if len(name) <= 40 and name.isprintable() else "a name"  # noqa: PLR2004
            raise InvalidRequestError(f"{shown} is there twice in one object", field=shown)
        found[name] = value
    return found
