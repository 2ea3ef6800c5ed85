"""Of a sender's message we read what is on a list; anything else is left out, or refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline_worker.intake.envelope import (
    BODY_BYTES_MAX,
    ENTRY_BYTES_MAX,
    ENTRY_DEPTH_MAX,
    MalformedError,
    TaskMessage,
    check_entry_text,
    opened,
    parsed,
    task_message,
)
from tests.support.odd_messages import ODD_ENTRIES, odd_entry, stop_headers

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


def _read(entry: Any) -> TaskMessage:
    found = opened(parsed(json.dumps(entry).encode()))
    return task_message(found.headers, found.body, found.content_type, found.content_encoding)


@pytest.mark.parametrize("name", ODD_ENTRIES)
def test_an_odd_entry_is_read_or_refused(name: str) -> None:
    try:
        message = _read(ODD_ENTRIES[name])
    except MalformedError:
        return
    assert isinstance(message.id, str)


@given(headers=st.dictionaries(st.text(), _JSON), properties=st.dictionaries(st.text(), _JSON))
def test_any_headers_and_properties_are_read_or_refused(
    headers: dict[str, Any], properties: dict[str, Any]
) -> None:
    entry = odd_entry({**stop_headers(), **headers}, properties=properties)
    try:
        message = _read(entry)
    except MalformedError:
        return
    assert isinstance(message.task, str)


@given(entry=_JSON)
def test_any_json_is_read_or_refused(entry: Any) -> None:
    try:
        _read(entry)
    except MalformedError:
        return


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * (ENTRY_DEPTH_MAX + 1), "nests more than"),
        (b" " * (ENTRY_BYTES_MAX + 1), "is longer than"),
        (b"garbage{", "is no JSON"),
        (b"9" * 10_000, "is no JSON"),
        (b"\xff", "is no JSON"),
    ],
)
def test_an_entry_that_is_none_says_why(text: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parsed(text)


def test_brackets_in_texts_do_not_nest() -> None:
    check_entry_text(json.dumps(["[" * 1000, "\\" + "{" * 1000, '"' + "[" * 1000]).encode())


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
        task_message(stop_headers(), body, kind, encoding)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-11-26T10:00:00+02:00", datetime(2026, 11, 26, 8, tzinfo=UTC)),
        ("2026-11-26T10:00:00", datetime(2026, 11, 26, 10, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_have_a_zone(given: str | None, moment: datetime | None) -> None:
    headers = stop_headers(eta=given, expires=given)
    message = task_message(headers, b"[[], {}, {}]", "application/json", None)
    assert (message.eta, message.expires) == (moment, moment)


@pytest.mark.parametrize("given", ["soon", 5, "0001-01-01T00:00:00+14:00", "x" * 100])
def test_a_time_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(MalformedError, match="eta is no time"):
        task_message(stop_headers(eta=given), b"[[], {}, {}]", "application/json", None)


def test_what_a_message_links_to_and_its_limits_are_not_read() -> None:
    headers = stop_headers(timelimit=[1, 1], argsrepr="a", retries=10**30)
    linked = b'[[1], {"a": 2}, {"callbacks": [{"task": "x"}]}]'
    message = task_message(headers, linked, "application/json", "utf-8")
    assert (message.args, message.kwargs, message.about["retries"]) == ([1], {"a": 2}, 0)
