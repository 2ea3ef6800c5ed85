"""A batch in pieces of any size is the same batch; no piece makes it hold more than a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline.bulk.splitting import LINE_BYTES_MAX, ArraySplitter, LineSplitter
from stopline.contract import parse_json
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline.bulk.splitting import Splitter

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('a"\\[]{},: \n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=8,
)


def _split(splitter: Splitter, pieces: Iterable[bytes]) -> list[tuple[int, bytes]]:
    found = [one for piece in pieces for one in splitter.feed(piece)]
    return [*found, *splitter.end()]


def _cut(raw: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(raw)) for place in places} | {len(raw)})
    return [raw[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=6))
def test_lines_are_those_of_the_whole(raw: bytes, places: list[int]) -> None:
    expected = raw.split(b"\n")
    if not expected[-1]:
        expected.pop()
    found = _split(LineSplitter(), _cut(raw, places))
    assert found == list(enumerate(expected, 1))


@given(st.lists(_VALUES, max_size=5), st.lists(st.integers(0, 120), max_size=8), st.booleans())
def test_elements_are_those_of_the_array(
    values: list[Any], places: list[int], is_indented: bool
) -> None:
    raw = orjson.dumps(values, option=orjson.OPT_INDENT_2 if is_indented else 0)
    found = _split(ArraySplitter(), _cut(raw, places))
    assert [number for number, _ in found] == list(range(1, len(values) + 1))
    assert [orjson.loads(one) for _, one in found] == values


@given(st.binary(max_size=40) | st.text('[]{},"\\ 1a', max_size=20).map(str.encode))
def test_what_the_array_splitter_takes_is_an_array_or_has_a_wrong_element(raw: bytes) -> None:
    try:
        elements = _split(ArraySplitter(), [raw])
    except InvalidRequestError:
        with pytest.raises(InvalidRequestError):
            _array(raw)
        return
    try:
        values = [parse_json(one) for _, one in elements]
    except InvalidRequestError:
        return  # it is refused as an element
    assert values == _array(raw)


def _array(raw: bytes) -> Any:
    value = parse_json(raw.removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(value, list):
        raise InvalidRequestError("no array")
    return value


@pytest.mark.parametrize("splitter", [LineSplitter, ArraySplitter])
def test_a_line_without_end_is_not_held(splitter: type[Splitter]) -> None:
    one = splitter()
    begin = b'["' if isinstance(one, ArraySplitter) else b'"'
    assert list(one.feed(begin)) == []
    for _ in range(100):
        assert list(one.feed(b"x" * 65536)) == []
    end = b'"]' if isinstance(one, ArraySplitter) else b'"\n'
    ((number, held),) = one.feed(end)
    assert number == 1
    assert LINE_BYTES_MAX < len(held) <= LINE_BYTES_MAX + 2
