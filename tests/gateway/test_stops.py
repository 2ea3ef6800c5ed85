"""`/v1/stops` and `/v1/resumes`: the client's verbs over HTTP, and what is refused."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from stopline.testing import Answer
from tests.support.gateway import assert_problem, in_pieces

if TYPE_CHECKING:
    from tests.support.gateway import Desk


def test_a_stop_is_accepted_and_its_place_is_told(desk: Desk) -> None:
    reply = desk.stop(reason="over budget", source="crm")
    receipt = reply.json()
    assert (reply.status_code, receipt["receipt"]) == (202, "accepted")
    assert reply.headers["location"] == f"/v1/stops/{receipt['request_id']}"
    desk.world.work()
    found = desk.call("GET", reply.headers["location"]).json()
    assert (found["outcome"], found["reason"], found["source"]) == ("stopped", "over budget", "crm")
    assert len(found["attempts"]) == 1


def test_a_second_stop_joins_and_a_late_one_is_satisfied(desk: Desk) -> None:
    before = desk.world.now.isoformat()
    first = desk.stop()
    second = desk.stop()
    assert (second.status_code, second.json()["receipt"]) == (202, "joined")
    assert second.json()["request_id"] == first.json()["request_id"]
    desk.world.work()
    late = desk.stop(issued_at=before)
    assert (late.status_code, late.json()["receipt"]) == (200, "satisfied")


def test_an_open_request_says_where_it_is(desk: Desk) -> None:
    found = desk.call("GET", desk.stop().headers["location"]).json()
    assert found["outcome"] is None
    assert found["state"] == "queued"


def test_an_unknown_request_is_not_found(desk: Desk) -> None:
    assert_problem(desk.call("GET", "/v1/stops/nobody"), 404, "not-found")
    assert_problem(desk.call("GET", "/v1/stops/no%20id"), 404, "not-found")
    assert_problem(desk.call("DELETE", "/v1/stops/nobody"), 404, "not-found")
    assert_problem(desk.call("GET", "/v1/stops/nobody?wait_s=1"), 404, "not-found")


def test_waiting_gives_the_outcome(desk: Desk) -> None:
    reply = desk.call("POST", "/v1/stops?wait_s=5", json={"user_id": "u", "task_id": "t"})
    assert (reply.status_code, reply.json()["outcome"]) == (200, "stopped")


def test_waiting_in_vain_gives_the_status(desk: Desk) -> None:
    desk.world.answer("u", "t", always=Answer.AWAY)
    reply = desk.call("POST", "/v1/stops?wait_s=5", json={"user_id": "u", "task_id": "t"})
    assert (reply.status_code, reply.json()["outcome"]) == (202, None)
    reply = desk.call("GET", f"{reply.headers['location']}?wait_s=5")
    assert (reply.status_code, reply.json()["outcome"]) == (200, None)


@pytest.mark.parametrize("wait_s", ["-1", "61", "nan", "inf", "soon"])
def test_a_wait_has_a_limit(desk: Desk, wait_s: str) -> None:
    body = {"user_id": "u", "task_id": "t"}
    reply = desk.call("POST", f"/v1/stops?wait_s={wait_s}", json=body)
    assert_problem(reply, 422, "invalid-request", "wait_s")
    assert desk.world.work() == 0


def test_the_same_key_is_accepted_once(desk: Desk) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"user_id": "u", "task_id": "t"}
    first = desk.call("POST", "/v1/stops", json=body, headers=headers)
    again = desk.call("POST", "/v1/stops", json=body, headers=headers)
    in_body = desk.stop(idempotency_key="once")
    for reply in (again, in_body):
        assert reply.json()["request_id"] == first.json()["request_id"]
        assert reply.json()["receipt"] == "duplicate"
    other = desk.call("POST", "/v1/stops", json={**body, "task_id": "other"}, headers=headers)
    assert_problem(other, 409, "idempotency-conflict", "idempotency_key")


def test_two_keys_in_one_call_are_refused(desk: Desk) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    body = {"user_id": "u", "task_id": "t"}
    reply = desk.call("POST", "/v1/stops", json=body, headers=headers)
    assert_problem(reply, 422, "invalid-request", "idempotency_key")
    reply = desk.call(
        "POST",
        "/v1/stops",
        json={**body, "idempotency_key": "a"},
        headers={"Idempotency-Key": "b"},
    )
    assert_problem(reply, 422, "invalid-request", "idempotency_key")


def test_cancelling(desk: Desk) -> None:
    place = desk.stop().headers["location"]
    assert desk.call("DELETE", place).json()["result"] == "cancelled"
    assert desk.call("DELETE", place).json()["result"] == "already_finished"
    found = desk.call("GET", place).json()
    assert (found["outcome"], found["detail"]) == ("cancelled", "Cancelled by gateway.")
    assert desk.world.work() == 0


def test_a_resume_supersedes(desk: Desk) -> None:
    place = desk.stop().headers["location"]
    reply = desk.call("POST", "/v1/resumes", json={"user_id": "u", "task_id": "t"})
    assert reply.json()["superseded"] == [place.removeprefix("/v1/stops/")]
    before = desk.world.now.isoformat()
    desk.call("POST", "/v1/resumes", json={"user_id": "u", "task_id": "t"})
    late = desk.stop(issued_at=before)
    assert (late.status_code, late.json()["receipt"]) == (200, "superseded")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"task_id": "t"}, "user_id"),
        ({"user_id": "u", "task_id": "t", "at": "yesterday"}, "at"),
        ({"user_id": "u", "task_id": "t", "at": 20261126}, "at"),
        ({"user_id": "u", "task_id": "t", "lane": "bulk"}, "lane"),
        ({"user_id": "u/..", "task_id": "t"}, "user_id"),
    ],
)
def test_a_wrong_resume_is_refused(desk: Desk, fields: dict[str, Any], field: str) -> None:
    reply = desk.call("POST", "/v1/resumes", json=fields)
    assert_problem(reply, 422, "invalid-request", field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"task_id": "t"}, "user_id"),
        ({"user_id": "u", "task_id": "a b"}, "task_id"),
        ({"user_id": "u", "task_id": 7}, "task_id"),
        ({"user_id": "u", "task_id": "t", "lane": "fast"}, "lane"),
        ({"user_id": "u", "task_id": "t", "colour": "red"}, "colour"),
        ({"user_id": "u", "task_id": "t", "source": 7}, "source"),
        ({"user_id": "u", "task_id": "t", "not_after": "2020-01-01T00:00:00Z"}, "not_after"),
        ({"user_id": "u", "task_id": "t", "issued_at": "2020-01-01T00:00:00Z"}, "issued_at"),
        ([], None),
        ("stop", None),
    ],
)
def test_a_wrong_field_is_named(desk: Desk, fields: object, field: str | None) -> None:
    reply = desk.call(
        "POST",
        "/v1/stops",
        json=fields,
    )
    assert_problem(reply, 422, "invalid-request", field)
    assert desk.world.work() == 0


_GOOD = b'{"user_id":"u","task_id":"t"}'


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", None),
        (b"{", None),
        (b'{"user_id":"u","task_id":"t",}', None),
        (b'{"user_id":"u","task_id":"\xff"}', None),
        (b'{"user_id":"u","task_id":"t","x":NaN}', None),
        (b'{"user_id":"u","task_id":"t","task_id":"other"}', "task_id"),
        (b'{"user_id":"u","task_id":"t","task\\u005fid":"other"}', "task_id"),
        (b'{"user_id":"u","task_id":"t","x":' + b"9" * 5000 + b"}", None),
        (b"[" * 100_000, None),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, None),
        (_GOOD + _GOOD, None),
        (b'{"user_id":"u","task_id":"t","reason":"\\ud800"}', None),
    ],
)
def test_what_is_no_json_is_refused(desk: Desk, raw: bytes, field: str | None) -> None:
    reply = desk.call(
        "POST", "/v1/stops", content=raw, headers={"Content-Type": "application/json"}
    )
    assert_problem(reply, 400, "malformed", field)
    assert desk.world.work() == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_other_formats_are_refused(desk: Desk, headers: dict[str, str]) -> None:
    raw = gzip.compress(_GOOD) if "Content-Encoding" in headers else _GOOD
    reply = desk.call("POST", "/v1/stops", content=raw, headers=headers)
    assert_problem(reply, 415, "unsupported-media-type")
    assert desk.world.work() == 0


def test_a_body_has_a_limit(desk: Desk) -> None:
    headers = {"Content-Type": "application/json"}
    large = b" " * ((1 << 20) + 1)
    reply = desk.call("POST", "/v1/stops", content=large, headers=headers)
    assert_problem(reply, 413, "too-large")
    pieces = in_pieces([b" " * 65536] * 17)
    reply = desk.call("POST", "/v1/stops", content=pieces, headers=headers)
    assert_problem(reply, 413, "too-large")


def test_a_path_or_method_that_is_not_there(desk: Desk) -> None:
    assert_problem(desk.call("GET", "/v2/stops"), 404, "not-found")
    reply = desk.call("PUT", "/v1/stops")
    assert_problem(reply, 405, "method-not-allowed")
    assert reply.headers["allow"] == "GET, POST"


def test_redis_away_and_redis_full(desk: Desk) -> None:
    with desk.world.redis_is_away():
        assert_problem(desk.stop(), 503, "unavailable")
        ready = desk.call("GET", "/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert desk.call("GET", "/livez").status_code == 200
    with desk.world.redis_is_full():
        assert_problem(desk.stop(), 503, "ledger-full")
    assert desk.stop().status_code == 202
    assert desk.call("GET", "/readyz").json() == {
        "ready": True,
        "problems": [],
        "warnings": [],
    }
    assert desk.call("HEAD", "/readyz").status_code == 200
    assert desk.call("HEAD", "/livez").content == b""


def test_every_reply_is_not_to_be_kept_nor_guessed_at(desk: Desk) -> None:
    for reply in (desk.stop(), desk.call("GET", "/nowhere"), desk.call("GET", "/docs")):
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_an_error_of_ours_shows_nothing_of_itself(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(desk.services.client, "stop_request", broken)
    reply = desk.stop()
    assert_problem(reply, 500, "internal")
    assert "secret" not in reply.text


@pytest.mark.parametrize("value", [{}, [], 7, True, {"a": 1}])
def test_a_key_of_another_kind_is_refused(desk: Desk, value: object) -> None:
    for headers in ({}, {"Idempotency-Key": "k"}):
        body = {"user_id": "u", "task_id": "t", "idempotency_key": value}
        reply = desk.call("POST", "/v1/stops", json=body, headers=headers)
        assert_problem(reply, 422, "invalid-request", "idempotency_key")
