"""Keys: who may call, for whom, what, and how often; and what is written down of it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from stopline.errors import InvalidSettingsError
from stopline_gateway.keys import Scope
from stopline_gateway.settings import GatewaySettings
from tests.support.gateway import Desk, KeyRing, assert_problem

if TYPE_CHECKING:
    import httpx

_BODY = {"user_id": "u", "task_id": "t"}


def _stop(desk: Desk, key: str | None, **fields: str) -> httpx.Response:
    return desk.call("POST", "/v1/stops", key=key, json={**_BODY, **fields})


def test_a_key_speaks_for_its_source(keys: KeyRing) -> None:
    key = keys.add("crm", Scope.STOP, Scope.READ)
    with Desk(keys_file=keys.path) as desk:
        place = _stop(desk, key).headers["location"]
        assert desk.call("GET", place, key=key).json()["source"] == "crm"
        assert _stop(desk, key, source="crm").status_code == 202
        assert_problem(_stop(desk, key, source="billing"), 403, "forbidden", "source")


@pytest.mark.parametrize("cut", [0, 5, 20, -1])
def test_without_the_whole_key_nothing_is_accepted(keys: KeyRing, cut: int) -> None:
    key = keys.add("crm")
    with Desk(keys_file=keys.path) as desk:
        assert_problem(_stop(desk, None), 401, "unauthorized")
        reply = _stop(desk, key[:cut])
        assert_problem(reply, 401, "unauthorized")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert desk.world.work() == 0


@pytest.mark.parametrize(
    "value", ["Basic eDp5", "Bearer", "bearer  ", "slk_a_b", "Bearer slk_a_" + "x" * 5000]
)
def test_what_is_no_bearer_key_is_refused(keys: KeyRing, value: str) -> None:
    keys.add("crm")
    with Desk(keys_file=keys.path) as desk:
        reply = desk.call("POST", "/v1/stops", json=_BODY, headers={"Authorization": value})
        assert_problem(reply, 401, "unauthorized")


def test_two_keys_in_one_call_are_none(keys: KeyRing) -> None:
    one, other = keys.add("crm"), keys.add("crm")
    with Desk(keys_file=keys.path) as desk:
        headers = [("Authorization", f"Bearer {one}"), ("Authorization", f"Bearer {other}")]
        reply = desk.call("POST", "/v1/stops", json=_BODY, headers=headers)
        assert_problem(reply, 401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("POST", "/v1/stops", {Scope.STOP}),
        ("POST", "/v1/resumes", {Scope.STOP}),
        ("POST", "/v1/events", {Scope.STOP}),
        ("POST", "/v1/batches", {Scope.BULK}),
        ("GET", "/v1/stops/x", {Scope.READ, Scope.STOP}),
        ("DELETE", "/v1/stops/x", {Scope.STOP, Scope.OPERATE}),
        ("GET", "/v1/batches/x", {Scope.READ, Scope.BULK}),
        ("GET", "/v1/batches/x/report", {Scope.READ}),
        ("GET", "/v1/history", {Scope.READ}),
        ("GET", "/v1/batches/x/undo", {Scope.READ}),
        ("POST", "/v1/batches/x/cancel", {Scope.OPERATE}),
        ("POST", "/v1/batches/x/pause", {Scope.OPERATE}),
        ("POST", "/v1/batches/x/resume", {Scope.OPERATE}),
        ("POST", "/v1/batches/x/redrive", {Scope.OPERATE}),
        ("GET", "/v1/outcomes", {Scope.READ}),
        ("GET", "/v1/dead-letters", {Scope.READ}),
        ("POST", "/v1/dead-letters/redrive", {Scope.OPERATE}),
        ("POST", "/v1/dead-letters/discard", {Scope.OPERATE}),
    ],
)
def test_each_call_needs_a_scope(keys: KeyRing, method: str, path: str, scopes: set[Scope]) -> None:
    by_scope = {scope: keys.add("crm", scope) for scope in Scope}
    with Desk(keys_file=keys.path) as desk:
        assert_problem(desk.call(method, path), 401, "unauthorized")
        for scope, key in by_scope.items():
            reply = desk.call(method, path, key=key)
            is_refused = reply.status_code == 403
            assert is_refused == (scope not in scopes), (scope, reply.text)


def test_probes_and_documents_need_no_key(locked: Desk) -> None:
    for path in ("/livez", "/readyz", "/openapi.json", "/docs"):
        assert locked.call("GET", path).status_code == 200


def test_with_the_scope_stop_only_ones_own_is_cancelled(keys: KeyRing) -> None:
    crm, billing = keys.add("crm", Scope.STOP), keys.add("billing", Scope.STOP)
    operator = keys.add("people", Scope.OPERATE)
    with Desk(keys_file=keys.path) as desk:
        place = _stop(desk, crm).headers["location"]
        assert_problem(desk.call("DELETE", place, key=billing), 403, "forbidden")
        _stop(desk, billing)  # joins
        assert_problem(desk.call("DELETE", place, key=crm), 403, "forbidden")
        assert desk.call("DELETE", place, key=operator).json()["result"] == "cancelled"
        own = _stop(desk, crm, task_id="own").headers["location"]
        assert desk.call("DELETE", own, key=crm).json()["result"] == "cancelled"


def test_a_key_that_nobody_asked_for_is_told_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert desk.call("GET", "/v1/dead-letters", key="slk_a_b").status_code == 200
    assert caplog.text.count("no keys are asked for here") == 1


def test_without_keys_only_this_machine_may_call(desk: Desk) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        reply = desk.call("POST", "/v1/stops", json=_BODY, headers=headers)
        assert_problem(reply, 403, "forbidden")
    for headers in ({"Host": "localhost:8077"}, {"Host": "[::1]:8077"}, {"Host": "127.0.0.1"}):
        assert desk.call("POST", "/v1/stops", json=_BODY, headers=headers).status_code == 202


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gateway.example"])
def test_without_keys_it_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(InvalidSettingsError, match="stopline gateway key new"):
        GatewaySettings.load(host=host).check_access(None)


def test_a_key_has_a_rate(keys: KeyRing) -> None:
    key = keys.add("crm", Scope.STOP, rate="1/s,burst=3")
    other = keys.add("crm", Scope.STOP)
    with Desk(keys_file=keys.path) as desk:
        statuses = [_stop(desk, key).status_code for _ in range(3)]
        assert statuses == [202, 202, 202]
        assert_problem(_stop(desk, key), 429, "rate-exceeded")
        assert _stop(desk, other).status_code == 202
        desk.world.advance(1)
        assert _stop(desk, key).status_code == 202
        assert_problem(_stop(desk, key), 429, "rate-exceeded")


def test_calls_at_once_share_what_is_left(keys: KeyRing) -> None:
    key = keys.add("crm", Scope.STOP, rate="1/s,burst=7")
    with Desk(keys_file=keys.path) as desk:

        async def at_once() -> list[int]:
            calls = (desk.acall("POST", "/v1/stops", key=key, json=_BODY) for _ in range(20))
            return [reply.status_code for reply in await asyncio.gather(*calls)]

        statuses = desk.run(at_once())
        assert (statuses.count(202), statuses.count(429)) == (7, 13)


def test_every_change_is_in_the_audit_trail(keys: KeyRing) -> None:
    key = keys.add("crm")
    with Desk(keys_file=keys.path) as desk:
        place = _stop(desk, key).headers["location"]
        _stop(desk, key)
        desk.call("POST", "/v1/resumes", key=key, json=_BODY)
        cancelled = _stop(desk, key, task_id="other").headers["location"]
        desk.call("DELETE", cancelled, key=key)
        desk.call(
            "POST",
            "/v1/batches",
            key=key,
            content=b"user_id,task_id\nu,1\nu,2\n",
            headers={"Content-Type": "text/csv"},
        )
        assert_problem(_stop(desk, key, task_id="a b"), 422, "invalid-request", "task_id")

        async def trail() -> list[dict[str, object]]:
            return [
                entry.to_json()
                async for entry in desk.services.client.audit_trail(newest_first=False)
            ]

        entries = desk.run(trail())
    assert [one["action"] for one in entries] == [
        *("stop", "stop", "resumed", "stop", "cancel", "batch", "batch_end")
    ]
    assert {one["actor"] for one in entries} == {"crm"}
    assert {one["key"] for one in entries} == {key.split("_")[1]}
    first, second, resumed, _, cancel, _, batch_end = entries
    assert (first["receipt"], second["receipt"]) == ("accepted", "joined")
    assert second["follow"] == place.removeprefix("/v1/stops/")
    assert (resumed["user_id"], resumed["task_id"]) == ("u", "t")
    assert cancel["request_ids"] == [cancelled.removeprefix("/v1/stops/")]
    assert batch_end["count"] == 2


def test_no_key_is_in_logs(keys: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    key = keys.add("crm")
    with Desk(keys_file=keys.path) as desk, caplog.at_level(logging.DEBUG):
        _stop(desk, key)
        with desk.world.redis_is_away():
            _stop(desk, key)
        _stop(desk, key[:-1])
    assert key[-20:] not in caplog.text


def test_nobody_takes_the_key_of_another_source(keys: KeyRing) -> None:
    crm, billing = keys.add("crm", Scope.STOP), keys.add("billing", Scope.STOP)
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/billing",
        "type": "stopline.stop.requested",
    }
    with Desk(keys_file=keys.path) as desk:
        for key, task in ((crm, "mine"), (billing, "theirs")):
            headers = {"Idempotency-Key": "1"}
            body = {"user_id": "u", "task_id": task}
            reply = desk.call("POST", "/v1/stops", key=key, json=body, headers=headers)
            assert reply.json()["receipt"] == "accepted"
            again = desk.call("POST", "/v1/stops", key=key, json=body, headers=headers)
            assert again.json()["receipt"] == "duplicate"
            data = {"user_id": "u", "task_id": f"{task}-event"}
            headers = {"Content-Type": "application/cloudevents+json"}
            reply = desk.call(
                "POST", "/v1/events", key=key, json={**event, "data": data}, headers=headers
            )
            assert reply.json()["receipt"]["receipt"] == "accepted"


def test_a_batch_needs_the_scope_bulk_however_it_is_sent_to(keys: KeyRing) -> None:
    stop, bulk = keys.add("crm", Scope.STOP), keys.add("crm", Scope.STOP, Scope.BULK)
    with Desk(keys_file=keys.path) as desk:
        assert_problem(_stop(desk, stop, batch_id="night"), 403, "forbidden")
        assert _stop(desk, bulk, batch_id="night").status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:3000"},
        {"X-Forwarded-For": "10.0.0.7"},
        {"Via": "1.1 proxy"},
    ],
)
def test_without_keys_neither_another_page_nor_a_proxy_gets_through(
    desk: Desk, headers: dict[str, str]
) -> None:
    reply = desk.call("POST", "/v1/stops", json=_BODY, headers=headers)
    assert_problem(reply, 403, "forbidden")


@pytest.mark.parametrize("said", [0, False, [], {}, ""])
def test_an_events_source_cannot_be_smuggled_in(keys: KeyRing, said: object) -> None:
    key = keys.add("mallory", Scope.STOP)
    data = {"user_id": "u", "task_id": "t", "source": said}
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "billing",
        "type": "stopline.stop.requested",
    }
    with Desk(keys_file=keys.path) as desk:
        headers = {"Content-Type": "application/cloudevents+json"}
        body = {**event, "data": data}
        reply = desk.call("POST", "/v1/events", key=key, json=body, headers=headers)
        assert reply.status_code in {403, 422}, reply.text
        assert desk.world.work() == 0


def test_a_line_of_a_batch_takes_nobodys_key(keys: KeyRing) -> None:
    mallory, crm = keys.add("mallory", Scope.BULK), keys.add("crm", Scope.STOP)
    line = b'{"user_id":"u","task_id":"t","idempotency_key":"crm:1"}'
    with Desk(keys_file=keys.path) as desk:
        headers = {"Content-Type": "application/x-ndjson"}
        reply = desk.call("POST", "/v1/batches", key=mallory, content=line, headers=headers)
        assert reply.json()["receipts"] == {"accepted": 1}
        reply = desk.call(
            "POST", "/v1/stops", key=crm, json=_BODY, headers={"Idempotency-Key": "1"}
        )
        assert reply.json()["receipt"] == "joined"


def test_sources_with_colons_have_keys_of_their_own(keys: KeyRing) -> None:
    one, other = keys.add("crm", Scope.STOP), keys.add("crm:eu", Scope.STOP)
    with Desk(keys_file=keys.path) as desk:
        for key, name, task in ((one, "eu:9", "1"), (other, "9", "2")):
            body = {"user_id": "u", "task_id": task}
            headers = {"Idempotency-Key": name}
            reply = desk.call("POST", "/v1/stops", key=key, json=body, headers=headers)
            assert reply.json()["receipt"] == "accepted"


def test_ids_are_not_a_callers_to_choose(keys: KeyRing) -> None:
    key = keys.add("crm", Scope.STOP)
    with Desk(keys_file=keys.path) as desk:
        reply = _stop(desk, key, request_id="billing-1")
        assert_problem(reply, 422, "invalid-request", "request_id")


def test_what_changed_nothing_is_not_in_the_trail(keys: KeyRing) -> None:
    key = keys.add("crm")
    with Desk(keys_file=keys.path) as desk:
        desk.call("DELETE", "/v1/stops/nobody", key=key)
        for _ in range(3):
            headers = {"Idempotency-Key": "once"}
            desk.call("POST", "/v1/stops", key=key, json=_BODY, headers=headers)

        async def trail() -> list[str]:
            return [entry.action async for entry in desk.services.client.audit_trail()]

        assert desk.run(trail()) == ["stop"]


@pytest.mark.parametrize(
    "value",
    ["application/json; a=" + ";" * 5_000, "application/json; charset*" + "9" * 5_000 + "=x"],
)
def test_a_long_content_type_costs_nothing(desk: Desk, value: str) -> None:
    reply = desk.call("POST", "/v1/stops", content=b"{}", headers={"Content-Type": value})
    assert_problem(reply, 415, "unsupported-media-type")
