"""What is a message of ids, and what only looks like one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from stopline.contract import STOP_TASK
from stopline_worker.intake.dispatch_entries import ids_of


def _entry(content: Any, *, task: str = "stopline.dispatch", **changes: Any) -> bytes:
    body = base64.b64encode(json.dumps(content).encode()).decode()
    properties = {"body_encoding": "base64"}
    message = {"body": body, "headers": {"task": task}, "properties": properties}
    return json.dumps({**message, **changes}).encode()


def test_ids_are_found() -> None:
    assert ids_of(_entry([[["a", "b"]], {}, {"chain": None}])) == ["a", "b"]
    plain = _entry(None, body=json.dumps([[["a"]], {}, {}]), properties={})
    assert ids_of(plain) == ["a"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(_entry([[], {"user_id": "u"}, {}], task=STOP_TASK), id="a request"),
        pytest.param(_entry([[["a", "no id!"]], {}, {}]), id="a bad id"),
        pytest.param(_entry([[["a"] * 251], {}, {}]), id="too many"),
        pytest.param(_entry([[["a"], 1], {}, {}]), id="two arguments"),
        pytest.param(_entry([[["a"]], {"more": 1}, {}]), id="a keyword argument"),
        pytest.param(_entry("text"), id="no task arguments"),
        pytest.param(_entry(None, body="%%%"), id="no base64"),
        pytest.param(_entry(None, headers=None), id="no headers"),
        pytest.param(_entry(None, properties=5), id="no properties"),
        pytest.param(b'["no", "message"]', id="a list"),
        pytest.param(b"\xff", id="no text"),
    ],
)
def test_what_says_more_or_less_is_none(other: bytes) -> None:
    assert ids_of(other) is None
