"""What is left of a sender's message can be handled, noted and put back, whatever it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline_worker.intake.envelope import (
    BODY_BYTES_MAX,
    ENTRY_BYTES_MAX,
    ENTRY_DEPTH_MAX,
    MalformedError,
    check_entry_text,
    entry,
    task_body,
    task_headers,
)
from tests.support.odd_messages import ODD_ENTRIES, odd_entry, stop_headers

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


def _nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


def _assert_can_be_noted(made: dict[str, Any]) -> None:
    """Kombu notes it with its exchange and its routing key, and must read that again."""
    noted = json.dumps([made, "", "stopline.default"])
    check_entry_text(noted)
    assert json.loads(noted)[0]["properties"]["delivery_info"] == {
        "exchange": "",
        "routing_key": "stopline.default",
    }


@pytest.mark.parametrize("name", ODD_ENTRIES)
def test_an_odd_entry_can_be_noted_or_is_none(name: str) -> None:
    try:
        made = entry(ODD_ENTRIES[name], "stopline.default")
    except MalformedError:
        return
    _assert_can_be_noted(made)


@pytest.mark.parametrize("depth", [1, 30, 31, 32, 60, ENTRY_DEPTH_MAX])
def test_what_nests_is_not_noted(depth: int) -> None:
    """An entry at the limit once became one beyond it, and no message was ever restored again."""
    made = entry(
        odd_entry(stop_headers(x=_nested(depth)), **{"content-type": _nested(depth)}),
        "stopline.default",
    )
    _assert_can_be_noted(made)
    assert "x" not in made["headers"]


@given(headers=st.dictionaries(st.text(), _JSON), properties=st.dictionaries(st.text(), _JSON))
def test_any_headers_and_properties_can_be_noted_or_are_refused(
    headers: dict[str, Any], properties: dict[str, Any]
) -> None:
    try:
        made = entry({"body": "", "headers": headers, "properties": properties}, "stopline.default")
    except MalformedError:
        return
    _assert_can_be_noted(made)


@given(headers=_JSON)
def test_task_headers_are_plain_or_none(headers: Any) -> None:
    try:
        made = task_headers(headers)
    except MalformedError:
        return
    assert made["timelimit"] == [None, None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * (ENTRY_DEPTH_MAX + 1), "nests more than"),
        (" " * (ENTRY_BYTES_MAX + 1), "is longer than"),
    ],
)
def test_an_entry_is_looked_at_before_it_is_parsed(text: str, reason: str) -> None:
    for one in (text, text.encode()):
        with pytest.raises(MalformedError, match=reason):
            check_entry_text(one)


def test_brackets_in_texts_do_not_nest() -> None:
    check_entry_text(json.dumps(["[" * 1000, "\\" + "{" * 1000, '"' + "[" * 1000]))


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "reason"),
    [
        (b"{}", "application/json", "utf-8", "its body is not"),
        (b"[[], {}, {}]", "application/x-python-serialize", "utf-8", "content type"),
        (b"[[], {}, {}]", "application/json", "zlib", "content encoding"),
        (b"[" * 40 + b"]" * 40, "application/json", "utf-8", "nests more than"),
        (b" " * (BODY_BYTES_MAX + 1), "application/json", "utf-8", "longer than"),
        (b"\xff", "application/json", "utf-8", "cannot be decoded"),
    ],
)
def test_a_body_that_is_none_says_why(body: bytes, kind: str, encoding: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        task_body(body, kind, encoding)


def test_what_a_body_links_to_is_left_out() -> None:
    linked = b'[[1], {"a": 2}, {"callbacks": [{"task": "x"}]}]'
    assert json.loads(task_body(linked, "application/json", "utf-8")) == [[1], {"a": 2}, {}]
    plain = b'[[1], {"a": 2}, {"callbacks": null}]'
    assert task_body(plain, "application/json", "utf-8") == plain
