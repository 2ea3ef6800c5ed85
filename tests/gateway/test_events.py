"""`/v1/events`: CloudEvents in every form, mapped to stops and resumes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stopline.contract import rfc3339
from stopline_events.cloud_events import BATCH, STRUCTURED
from stopline_gateway.keys import Scope
from tests.support.gateway import Desk, KeyRing, assert_problem

if TYPE_CHECKING:
    import httpx

STOP, RESUMED = "stopline.stop.requested", "stopline.task.resumed"


def event(event_id: str = "1", kind: str = STOP, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/billing",
        "type": kind,
        "data": {"user_id": "u", "task_id": "t"},
        **more,
    }


def send(desk: Desk, document: object, media_type: str = STRUCTURED) -> httpx.Response:
    return desk.call("POST", "/v1/events", json=document, headers={"Content-Type": media_type})


def test_a_stop_and_its_repetition(desk: Desk) -> None:
    first, again = send(desk, event()), send(desk, event())
    assert (first.status_code, first.json()["status"]) == (202, "accepted")
    assert first.json()["receipt"]["receipt"] == "accepted"
    assert again.json()["receipt"]["receipt"] == "duplicate"
    other = send(desk, event(data={"user_id": "u", "task_id": "other"}))
    assert_problem(other, 409, "idempotency-conflict", "idempotency_key")
    place = f"/v1/stops/{first.json()['receipt']['request_id']}"
    assert desk.call("GET", place).json()["source"] == "/billing"


def test_time_decides_what_is_superseded(desk: Desk) -> None:
    before, now = desk.world.now - timedelta(seconds=60), desk.world.now
    assert send(desk, event("1", RESUMED, time=rfc3339(now))).json()["status"] == "resumed"
    late = send(desk, event("2", time=rfc3339(before))).json()
    assert (late["receipt"]["receipt"], late["time"]) == ("superseded", "event")
    fresh = send(desk, event("3")).json()
    assert (fresh["receipt"]["receipt"], fresh["time"]) == ("accepted", "arrival")
    ahead = send(desk, event("4", time="2999-01-01T00:00:00Z")).json()
    assert (ahead["receipt"]["receipt"], ahead["time"]) == ("joined", "arrival")
    resumed = send(desk, event("5", RESUMED, time="2999-01-01T00:00:00Z"))
    assert_problem(resumed, 422, "invalid-request", "at")


def test_other_types_are_ignored_and_counted(desk: Desk) -> None:
    reply = send(desk, event(kind="com.example.other", data=None))
    assert (reply.status_code, reply.json()["status"]) == (202, "ignored")
    assert desk.run(desk.services.client.counts()) == {"events_ignored": 1}
    assert desk.world.work() == 0


def test_binary_mode(desk: Desk) -> None:
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/b%C3%BCro",
        "ce-type": STOP,
    }
    body = {"user_id": "u", "task_id": "t"}
    reply = desk.call("POST", "/v1/events", json=body, headers=headers)
    assert reply.json()["status"] == "accepted"
    assert reply.json()["source"] == "/büro"
    twice = [*headers.items(), ("ce-id", "2")]
    reply = desk.call("POST", "/v1/events", json=body, headers=twice)
    assert_problem(reply, 422, "invalid-request", "ce-id")
    del headers["ce-source"]
    reply = desk.call("POST", "/v1/events", json=body, headers=headers)
    assert_problem(reply, 422, "invalid-request", "source")


def test_a_batch_says_what_became_of_each(desk: Desk) -> None:
    documents = [
        event("1"),
        event("2", data={"user_id": "u"}),
        event("3", "com.example.other"),
        "nonsense",
        event("5", RESUMED),
        event("6"),
        event("1"),
    ]
    reply = send(desk, documents, BATCH).json()
    assert [one["status"] for one in reply["results"]] == [
        *("accepted", "refused", "ignored", "refused", "resumed", "accepted", "accepted")
    ]
    assert reply["counts"] == {"accepted": 3, "refused": 2, "ignored": 1, "resumed": 1}
    assert reply["results"][1]["problem"]["field"] == "data.task_id"
    assert reply["results"][5]["receipt"]["receipt"] == "accepted"
    assert reply["results"][6]["receipt"]["receipt"] == "duplicate"
    assert len(desk.world.calls) == 0
    desk.world.work()
    assert len(desk.world.calls) == 1, "the first was superseded by the resume"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (event(specversion="0.3"), "specversion"),
        (event(id=""), "id"),
        (event(time="yesterday"), "time"),
        (event(data=None), "data"),
        (event(data=[1]), "data"),
        (event(data={"user_id": "u", "task_id": "t", "x": 1}), "data.x"),
        (event(data={"user_id": "u", "task_id": "t", "request_id": "r"}), "data.request_id"),
        (
            event(
                time="2026-11-26T08:00:00Z",
                data={"user_id": "u", "task_id": "t", "issued_at": "2026-11-26T09:00:00Z"},
            ),
            "data.issued_at",
        ),
        (event(kind=RESUMED, data={"user_id": "u", "task_id": "t", "lane": "bulk"}), "data.lane"),
        (event(data_base64="e30="), "data"),
        ({**event(), "data": None, "Bad-Name": 1}, None),
    ],
)
def test_a_wrong_event_is_refused(desk: Desk, document: dict[str, Any], field: str | None) -> None:
    assert_problem(send(desk, document), 422, "invalid-request", field)
    assert desk.world.work() == 0


def test_data_in_base64_is_read(desk: Desk) -> None:
    document = event()
    del document["data"]
    document["data_base64"] = "eyJ1c2VyX2lkIjoidSIsInRhc2tfaWQiOiJ0In0="
    assert send(desk, document).json()["status"] == "accepted"


def test_an_array_is_no_event_and_an_event_no_batch(desk: Desk) -> None:
    assert_problem(send(desk, [event()]), 422, "invalid-request")
    assert_problem(send(desk, event(), BATCH), 422, "invalid-request")
    assert_problem(send(desk, event(), "application/json"), 415, "unsupported-media-type")
    many = [event(str(number)) for number in range(1_001)]
    assert_problem(send(desk, many, BATCH), 413, "too-large")


def test_redis_away_fails_the_whole_call(desk: Desk) -> None:
    with desk.world.redis_is_away():
        assert_problem(send(desk, event()), 503, "unavailable")
        assert_problem(send(desk, [event("1"), event("2")], BATCH), 503, "unavailable")
    reply = send(desk, [event("1"), event("2")], BATCH).json()
    assert reply["counts"] == {"accepted": 2}


def test_an_event_speaks_for_the_keys_source(keys: KeyRing) -> None:
    key = keys.add("crm", Scope.STOP, Scope.READ)
    with Desk(keys_file=keys.path) as desk:
        headers = {"Content-Type": STRUCTURED}
        reply = desk.call("POST", "/v1/events", key=key, json=event(), headers=headers)
        place = f"/v1/stops/{reply.json()['receipt']['request_id']}"
        assert desk.call("GET", place, key=key).json()["source"] == "crm"
        data = {"user_id": "u", "task_id": "t", "source": "billing"}
        reply = desk.call(
            "POST", "/v1/events", key=key, json=event("2", data=data), headers=headers
        )
        assert_problem(reply, 403, "forbidden", "source")
