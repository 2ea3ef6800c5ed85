"""JSON from outside means one thing, or is refused."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline.contract import parse_json
from stopline.errors import InvalidRequestError

_INTEGERS = st.integers(-(2**63), 2**64 - 1)  # beyond them orjson reads a number with a point
_NAMES = st.text('ab"\\', max_size=2)


@given(
    st.lists(st.tuples(_NAMES, st.text('a"\\:', max_size=3) | _INTEGERS | st.none()), max_size=4)
)
def test_names_are_there_once(pairs: list[tuple[str, Any]]) -> None:
    raw = ("{" + ",".join(f"{json.dumps(n)}:{json.dumps(v)}" for n, v in pairs) + "}").encode()
    names = [name for name, _ in pairs]
    if len(set(names)) == len(names):
        assert parse_json(raw) == dict(pairs)
    else:
        with pytest.raises(InvalidRequestError, match="twice"):
            parse_json(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":{"b":1,"b":2}}',
        b'[{"a":1,"a":1}]',
        rb'{"a":"\\","b":"\\","b":"x"}',
        b'{"a":[1,{"c":"x","c":"y"}]}',
    ],
)
def test_deeper_ones_too(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="twice"):
        parse_json(raw)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_what_is_json_is_read(value: Any) -> None:
    assert parse_json(orjson.dumps(value)) == orjson.loads(orjson.dumps(value))


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"NaN", "no JSON"),
        (b"[Infinity]", "no JSON"),
        (b'"\xff"', "no UTF-8 at byte 2"),
        (b"[" * 100_000 + b"]" * 100_000, "no JSON"),
        (b"", "no JSON"),
    ],
)
def test_what_is_none_is_refused(raw: bytes, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        parse_json(raw)
