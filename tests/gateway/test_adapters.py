"""`/v1/alerts/alertmanager`, `/v1/decisions/opa`, and rules behind `/v1/events`."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from stopline.ledger.limits import Limits
from stopline.testing import World
from stopline_events.policy import PolicySettings
from tests.support.console import Viewer
from tests.support.gateway import Desk, KeyRing, assert_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLES = Path(__file__).parents[2] / "deploy" / "policies"
_ALERTS: dict[str, Any] = orjson.loads((_SAMPLES / "alertmanager.json").read_bytes())
_DECISIONS: list[dict[str, Any]] = orjson.loads((_SAMPLES / "opa.json").read_bytes())


@pytest.fixture
def ruled() -> Iterator[Desk]:
    """A gateway with the rules of the samples."""
    policy = PolicySettings(file=_SAMPLES / "policy.yaml", record_max=100)
    with Desk(World(Limits(counts=True)), policy=policy) as desk:
        yield desk


def _post(desk: Desk, path: str, body: Any, **more: Any) -> Any:
    return desk.call("POST", path, json=body, **more)


def test_what_fires_asks_for_a_stop_and_what_is_resolved_never_does(desk: Desk) -> None:
    reply = _post(desk, "/v1/alerts/alertmanager", _ALERTS)
    assert reply.status_code == 202
    document = reply.json()
    assert document["counts"] == {"accepted": 1, "ignored": 1}
    first = document["results"][0]
    status = desk.call("GET", f"/v1/stops/{first['receipt']['request_id']}").json()
    assert (status["task_id"], status["reason"]) == ("f232d184", "spent 120 of 100")
    assert status["issued_at"].startswith("2026-11-26T08:00")
    again = _post(desk, "/v1/alerts/alertmanager", _ALERTS).json()
    assert again["results"][0]["receipt"]["receipt"] == "duplicate"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": "3"}, "version"),
        ({"alerts": 3}, "alerts"),
    ],
)
def test_what_is_no_webhook_is_refused_whole(desk: Desk, change: Any, field: str) -> None:
    reply = _post(desk, "/v1/alerts/alertmanager", {**_ALERTS, **change})
    assert_problem(reply, 422, "invalid-request", field)


@pytest.mark.parametrize("change", [{"startsAt": "x"}, {"labels": 3}, {"fingerprint": ""}])
def test_an_alert_that_is_none_is_refused_alone(desk: Desk, change: Any) -> None:
    first, second = _ALERTS["alerts"]
    body = {**_ALERTS, "alerts": [{**first, **change}, first, second]}
    document = _post(desk, "/v1/alerts/alertmanager", body).json()
    assert document["counts"] == {"refused": 1, "accepted": 1, "ignored": 1}


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_times_at_the_ends_of_the_calendar_are_none(desk: Desk, at: str) -> None:
    body = {**_ALERTS, "alerts": [{**_ALERTS["alerts"][0], "startsAt": at}]}
    assert _post(desk, "/v1/alerts/alertmanager", body).json()["counts"] == {"refused": 1}


def test_a_decision_may_ask_for_many_stops(desk: Desk) -> None:
    document = _post(desk, "/v1/decisions/opa", _DECISIONS).json()
    assert document["counts"] == {"accepted": 2, "ignored": 1}
    ids = [one["receipt"]["request_id"] for one in document["results"] if one["receipt"]]
    assert len(set(ids)) == 2
    again = _post(desk, "/v1/decisions/opa", _DECISIONS[0]).json()
    assert [one["receipt"]["receipt"] for one in again["results"]] == ["duplicate"] * 2


@pytest.mark.parametrize("result", [True, False, None, {"stop": False}, {"stop": []}, "x", [1]])
def test_a_decision_that_asks_for_none_is_ignored(desk: Desk, result: object) -> None:
    body = {**_DECISIONS[0], "result": result}
    assert _post(desk, "/v1/decisions/opa", body).json()["counts"] == {"ignored": 1}


def test_decisions_may_come_compressed_and_unfold_to_no_more_than_others(desk: Desk) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    small = gzip.compress(orjson.dumps(_DECISIONS))
    reply = desk.call("POST", "/v1/decisions/opa", content=small, headers=headers)
    assert reply.json()["counts"] == {"accepted": 2, "ignored": 1}
    bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
    assert_problem(
        desk.call("POST", "/v1/decisions/opa", content=bomb, headers=headers), 413, "too-large"
    )
    for wrong in (b"no gzip", small[:-20]):
        reply = desk.call("POST", "/v1/decisions/opa", content=wrong, headers=headers)
        assert_problem(reply, 400, "malformed")


def test_rules_decide_about_events_of_any_type(ruled: Desk) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/usage",
        "type": "usage.budget",
        "data": {"user_id": "u", "task_id": "t", "spent": 120, "limit": 100},
    }
    headers = {"Content-Type": "application/cloudevents+json"}
    reply = ruled.call("POST", "/v1/events", content=orjson.dumps(event), headers=headers)
    document = reply.json()
    assert document["status"] == "ruled"
    (rule,) = document["rules"]
    assert (rule["rule"], rule["status"]) == ("over-budget", "accepted")
    status = ruled.call("GET", f"/v1/stops/{rule['receipt']['request_id']}").json()
    assert (status["source"], status["reason"]) == ("policy:over-budget", "spent 120 of 100")
    wrong = {**event, "id": "2", "data": {"spent": 120, "limit": 100}}
    reply = ruled.call("POST", "/v1/events", content=orjson.dumps(wrong), headers=headers).json()
    assert (reply["status"], reply["rules"][0]["status"]) == ("failed", "failed")
    assert "user_id" in reply["rules"][0]["reason"]
    calm = {**event, "id": "3", "data": {**event["data"], "spent": 1}}  # type: ignore[dict-item]
    reply = ruled.call("POST", "/v1/events", content=orjson.dumps(calm), headers=headers).json()
    assert reply["status"] == "ignored"
    ruled.run(ruled.services.policy.flush())
    text = ruled.call("GET", "/metrics").text
    assert 'stopline_rule_matches_total{rule="over-budget"} 1.0' in text
    assert 'stopline_rule_failures_total{rule="over-budget"} 1.0' in text


def test_a_batch_of_events_is_ruled_in_one_call(ruled: Desk) -> None:
    events = [
        {
            "specversion": "1.0",
            "id": str(number),
            "source": "/usage",
            "type": "usage.budget",
            "data": {"user_id": "u", "task_id": f"t{number}", "spent": number, "limit": 5},
        }
        for number in range(10)
    ]
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    reply = ruled.call("POST", "/v1/events", content=orjson.dumps(events), headers=headers)
    assert reply.json()["counts"] == {"ruled": 5, "ignored": 5}


def test_where_there_are_rules_they_alone_decide_about_alerts(ruled: Desk) -> None:
    paging = {**_ALERTS["alerts"][0]["labels"], "severity": "page"}
    body = {**_ALERTS, "alerts": [{**_ALERTS["alerts"][0], "labels": paging}]}
    (result,) = _post(ruled, "/v1/alerts/alertmanager", body).json()["results"]
    assert result["rules"][0]["rule"] == "paging-alerts"
    (result,) = _post(ruled, "/v1/alerts/alertmanager", _ALERTS).json()["results"][:1]
    assert result["status"] == "ignored", "as 'policy test' says, too"


def test_no_key_takes_that_of_anothers_event(keys: KeyRing) -> None:
    policy = PolicySettings(file=_SAMPLES / "policy.yaml")
    with Desk(World(), keys_file=keys.path, policy=policy) as desk:
        one, other = keys.add("one"), keys.add("other")
        Viewer(desk).look_again()
        headers = {"Content-Type": "application/cloudevents+json"}
        event = {"specversion": "1.0", "id": "1", "source": "/usage", "type": "usage.budget"}
        for key, task in ((one, "t1"), (other, "t2")):
            data = {"user_id": "u", "task_id": task, "spent": 2, "limit": 1}
            body = orjson.dumps({**event, "data": data})
            reply = desk.call("POST", "/v1/events", key=key, content=body, headers=headers).json()
            assert reply["rules"][0]["receipt"]["receipt"] == "accepted"


def test_rules_that_are_wrong_now_are_told(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: []")
    with Desk(World(), policy=PolicySettings(file=file)) as desk:
        file.write_text("rules: [")
        desk.services.policy._rules._look_at = 0  # type: ignore[union-attr]  # it looks once a second
        headers = {"Content-Type": "application/cloudevents+json"}
        event = b'{"specversion":"1.0","id":"1","source":"/s","type":"x"}'
        desk.call("POST", "/v1/events", content=event, headers=headers)
        assert str(file) in desk.call("GET", "/readyz").json()["warnings"][0]
