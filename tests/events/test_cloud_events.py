"""CloudEvents as the CNCF's SDK sends them, and what is refused of others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from stopline.errors import InvalidRequestError
from stopline_events import cloud_events
from stopline_events.decisions import (
    RESUMED,
    STOP,
    Ignored,
    Resume,
    Stop,
    decide,
    idempotency_key,
)

_AT = datetime(2026, 11, 26, 8, tzinfo=UTC)
_DATA = {"user_id": "u", "task_id": "t"}


def _sdk_event(**more: Any) -> CloudEvent:
    attributes = {
        "id": "1",
        "source": "/bür o",
        "type": STOP,
        "specversion": "1.0",
        "time": _AT,
        "datacontenttype": "application/json",
        "tenant": "x",
        **more,
    }
    return CloudEvent(attributes=attributes, data=_DATA)


def test_the_sdks_structured_events_are_read() -> None:
    message = to_structured_event(_sdk_event())
    event = cloud_events.parse_structured(bytes(message.body))
    assert (event.id, event.source, event.time, event.data) == ("1", "/bür o", _AT, _DATA)
    assert event.extensions == {"tenant": "x"}


def test_the_sdks_binary_events_are_read() -> None:
    message = to_binary_event(_sdk_event())
    headers = [(name.lower(), value) for name, value in message.headers.items()]
    content_type = dict(headers)["content-type"]
    assert cloud_events.is_event(headers)
    event = cloud_events.parse_binary(headers, content_type, bytes(message.body))
    assert (event.id, event.source, event.time, event.data) == ("1", "/bür o", _AT, _DATA)


def _event(**more: Any) -> cloud_events.Event:
    fields = {"specversion": "1.0", "id": "1", "source": "s", "type": STOP, "data": _DATA, **more}
    return cloud_events.event_of(fields)


def test_an_event_without_a_time_has_none() -> None:
    """The SDK takes it as of now, which would decide what it supersedes."""
    assert _event().time is None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": 7}, "id"),
        ({"source": ""}, "source"),
        ({"time": 1732608000}, "time"),
        ({"time": "2026-11-26T08:00:00"}, "zone"),
        ({"UPPER": 1}, "a-z"),
        ({"data_base64": "!"}, "data: there is data_base64"),
    ],
)
def test_what_is_no_event_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        _event(**fields)


def test_data_that_is_no_json_is_refused() -> None:
    headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", STOP)]
    with pytest.raises(InvalidRequestError, match="no JSON"):
        cloud_events.parse_binary(headers, "text/xml", b"<a/>")
    with pytest.raises(InvalidRequestError, match="no JSON"):
        cloud_events.parse_binary(headers, "application/json", b"<a/>")


def test_what_an_event_asks_for() -> None:
    stop = decide(_event(time="2026-11-26T08:00:00Z"))
    assert isinstance(stop, Stop)
    assert (stop.request.issued_at, stop.request.source) == (_AT, "s")
    resumed = decide(_event(type=RESUMED), arrived_at=_AT)
    assert isinstance(resumed, Resume)
    assert (str(resumed.target), resumed.at) == ("u/t", _AT)
    assert decide(_event(type="other")) == Ignored("other")


def test_two_events_have_two_keys() -> None:
    pairs = [
        ("a", "b c"),
        ("a b", "c"),
        ('a","b', "c"),
        ("a", 'b","c'),
        ("x" * 300, "1"),
        ("x" * 300, "2"),
    ]
    keys = {idempotency_key(_event(source=source, id=event_id)) for source, event_id in pairs}
    assert len(keys) == len(pairs)
    assert all(len(key) <= 200 for key in keys)


def test_what_comes_is_what_the_fields_said() -> None:
    raw = orjson.dumps(
        {"specversion": "1.0", "id": "1", "source": "s", "type": STOP, "data": _DATA}
    )
    assert cloud_events.parse_structured(raw) == _event()
    with pytest.raises(InvalidRequestError, match="twice"):
        cloud_events.parse_structured(raw[:-1] + b',"id":"2"}')
