"""`GET /v1/stops` and `/metrics`: what there is to see, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_metrics

from stopline.ledger.limits import Limits
from stopline.testing import World
from stopline_gateway.keys import Scope
from tests.support.gateway import Desk, KeyRing, assert_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_COUNTED = Limits(counts=True, recent_max=100)


@pytest.fixture
def counting() -> Iterator[Desk]:
    with Desk(World(_COUNTED)) as desk:
        yield desk


def _walk(desk: Desk, **query: Any) -> list[str]:
    found: list[str] = []
    while True:
        page = desk.call("GET", "/v1/stops", params=query).json()
        found += [one["task_id"] for one in page["stops"]]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


def test_open_requests_a_page_at_a_time(counting: Desk) -> None:
    for number in range(7):
        counting.stop(task_id=str(number), source="crm" if number % 2 else "billing")
    counting.stop(task_id="now", lane="emergency")
    assert _walk(counting, limit=3) == ["now", *map(str, range(7))]
    assert _walk(counting, source="crm", limit=1) == ["1", "3", "5"]
    assert _walk(counting, state="calling") == []
    assert _walk(counting, lane="emergency") == ["now"]
    page = counting.call("GET", "/v1/stops", params={"task_id": "4"}).json()
    assert page["stops"][0]["state"] == "queued"


def test_what_ended_the_newest_first(counting: Desk) -> None:
    for name in "abc":
        counting.stop(task_id=name)
        counting.world.work()
    counting.call("POST", "/v1/resumes", json={"user_id": "u", "task_id": "d"})
    assert _walk(counting, ended=True, limit=1) == ["c", "b", "a"]
    assert _walk(counting, outcome="stopped", task_id="b") == ["b"]
    assert _walk(counting, outcome="cancelled") == []


def test_the_last_batches_a_page_at_a_time(counting: Desk) -> None:
    for number in range(5):
        counting.stop(task_id=str(number), batch_id=f"b{number}")
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = counting.call("GET", "/v1/batches", params={"limit": "2", **cursor}).json()
        found += [one["batch_id"] for one in page["batches"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == ["b4", "b3", "b2", "b1", "b0"]
    reply = counting.call("GET", "/v1/batches", params={"cursor": "x"})
    assert_problem(reply, 422, "invalid-request", "cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "calling", "outcome": "stopped"}, "state"),
        ({"state": "calling", "ended": True}, "state"),
        ({"state": "lost"}, "state"),
        ({"user_id": "a b"}, "user_id"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "o!bulk!1; DROP!x"}, "cursor"),
        ({"cursor": "o!no-lane!1!x"}, "cursor"),
        ({"cursor": "e!some-id"}, "cursor"),
        ({"cursor": "o!bulk!1!x", "ended": True}, "cursor"),
        ({"limit": 0}, "limit"),
    ],
)
def test_what_cannot_be_meant_is_refused(counting: Desk, query: Any, field: str) -> None:
    assert_problem(counting.call("GET", "/v1/stops", params=query), 422, "invalid-request", field)


def _samples(reply: httpx.Response, parse: Any = plain_metrics) -> dict[str, float]:
    assert reply.status_code == 200, reply.text
    return {
        ",".join((one.name, *one.labels.values())): one.value
        for family in parse(reply.text)
        for one in family.samples
    }


def test_metrics_are_the_ledgers(counting: Desk) -> None:
    counting.stop(task_id="a")
    counting.world.work()
    counting.stop(task_id="b", lane="bulk")
    found = _samples(counting.call("GET", "/metrics"))
    assert found["stopline_up"] == 1
    assert found["stopline_requests,bulk,queued"] == 1
    assert found["stopline_outcomes_total,default,stopped"] == 1
    assert found["stopline_attempts_total,2xx,STOPPED"] == 1
    assert found["stopline_receipts_total,accepted"] == 2
    assert found["stopline_time_to_stop_seconds_count,default"] == 1
    assert found["stopline_time_to_stop_seconds_bucket,default,+Inf"] == 1
    assert found["stopline_call_seconds_bucket,0.005"] == 1
    assert found["stopline_standstills"] > 0, "no worker was ever heard of"
    assert found["stopline_oldest_request_age_seconds,default"] == 0


@pytest.mark.parametrize(
    "version", ["1.0.0", "zz", "9.9.9"], ids=["known", "nonsense", "not yet known"]
)
def test_metrics_as_open_metrics(counting: Desk, version: str) -> None:
    accept = f"application/openmetrics-text;version={version}"
    reply = counting.call("GET", "/metrics", headers={"Accept": accept})
    is_open = reply.headers["content-type"].startswith("application/openmetrics-text")
    assert _samples(reply, open_metrics if is_open else plain_metrics)["stopline_up"] == 1


def test_metrics_of_a_ledger_that_is_away(counting: Desk) -> None:
    with counting.world.redis_is_away():
        found = _samples(counting.call("GET", "/metrics"))
    assert found["stopline_up"] == 0
    assert "stopline_dead_letters" not in found


def test_lists_and_metrics_need_the_scope_read(keys: KeyRing) -> None:
    reader, sender = keys.add("ops", Scope.READ), keys.add("crm", Scope.STOP)
    with Desk(World(_COUNTED), keys_file=keys.path) as desk:
        for path in ("/v1/stops", "/metrics"):
            assert desk.call("GET", path, key=reader).status_code == 200
            assert_problem(desk.call("GET", path, key=sender), 403, "forbidden")
            assert_problem(desk.call("GET", path), 401, "unauthorized")
