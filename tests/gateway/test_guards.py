"""`/v1/guards`, `/v1/holds`, and the console's page of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stopline.testing import World
from stopline_gateway.keys import Scope
from tests.support.console import Viewer
from tests.support.gateway import Desk, KeyRing, assert_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_GUARD = {"source": "policy:*", "limit": {"requests": 2, "window_s": 60}}


@pytest.fixture
def guarded(desk: Desk) -> Desk:
    assert desk.call("PUT", "/v1/guards", json={"guards": [_GUARD]}).status_code == 200
    return desk


@pytest.fixture
def viewer(keys: KeyRing) -> Iterator[Viewer]:
    with Desk(World(), keys_file=keys.path) as desk:
        yield Viewer(desk)


def _stop(desk: Desk, *tasks: str, source: str = "policy:a") -> list[dict[str, Any]]:
    bodies = [{"user_id": "u", "task_id": one, "source": source} for one in tasks]
    return [desk.call("POST", "/v1/stops", json=body).json() for body in bodies]


def _view(desk: Desk) -> dict[str, Any]:
    (view,) = desk.call("GET", "/v1/guards").json()["guards"]
    found: dict[str, Any] = view
    return found


def test_beyond_its_limit_stops_are_held(guarded: Desk) -> None:
    receipts = _stop(guarded, *"12345")
    assert [one["receipt"] for one in receipts] == ["accepted"] * 2 + ["held"] * 3
    view = _view(guarded)
    assert (view["trip"], view["held"]) == ("limit", 3)
    status = guarded.call("GET", f"/v1/stops/{receipts[2]['request_id']}").json()
    assert (status["state"], status["held_by"], status["held_for"]) == (
        "held",
        "policy:*",
        "tripped",
    )
    held = guarded.call(
        "POST", "/v1/stops", json={"user_id": "u", "task_id": "6", "source": "policy:b"}
    )
    assert (held.status_code, held.json()["receipt"]) == (202, "held")
    assert held.headers["location"]


def test_pages_of_what_is_held(guarded: Desk) -> None:
    ids = [one["request_id"] for one in _stop(guarded, *"123456789")][2:]
    found: list[str] = []
    cursor = ""
    while True:
        page = guarded.call("GET", f"/v1/holds?guard=policy:*&limit=3{cursor}").json()
        found += [one["request_id"] for one in page["stops"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == ids
    assert len(guarded.call("GET", "/v1/holds").json()["stops"]) == len(ids)
    wrong = guarded.call("GET", "/v1/holds?guard=policy:*&cursor=x")
    assert_problem(wrong, 422, "invalid-request", "cursor")


@pytest.mark.parametrize(("verb", "word"), [("release", "released"), ("discard", "cancelled")])
def test_held_ones_are_let_go_or_dropped(guarded: Desk, verb: str, word: str) -> None:
    ids = [one["request_id"] for one in _stop(guarded, *"12345")][2:]
    one = guarded.call("POST", f"/v1/holds/{verb}", json={"ids": [ids[0], "nobody"]}).json()
    assert one == {"results": {word: 1, "unknown": 1}, "more": False}
    rest = guarded.call("POST", f"/v1/holds/{verb}", json={"guard": "policy:*"}).json()
    assert rest == {"results": {word: 2}, "more": False}
    assert guarded.call("POST", f"/v1/holds/{verb}", json={"all": True}).json()["results"] == {}
    guarded.world.work()
    outcome = guarded.call("GET", f"/v1/stops/{ids[1]}").json()["outcome"]
    assert outcome == ("stopped" if verb == "release" else "cancelled")


@pytest.mark.parametrize("body", [{}, {"all": False}, {"ids": ["a"], "all": True}])
def test_which_are_meant_has_to_be_said(guarded: Desk, body: dict[str, Any]) -> None:
    for verb in ("release", "discard"):
        assert_problem(guarded.call("POST", f"/v1/holds/{verb}", json=body), 422, "invalid-request")


def test_a_reset_guard_begins_anew(guarded: Desk) -> None:
    _stop(guarded, *"123")
    assert guarded.call("POST", "/v1/guards/policy:*/reset").status_code == 200
    view = _view(guarded)
    assert (view["trip"], view["held"]) == (None, 1)
    assert_problem(guarded.call("POST", "/v1/guards/policy:x/reset"), 404, "not-found")


def test_guards_that_somebody_changed_meanwhile_are_left_alone(guarded: Desk) -> None:
    version = guarded.call("GET", "/v1/guards").json()["version"]
    other = {"source": "crm", "dry_run": True}
    assert guarded.call("PUT", "/v1/guards", json={"guards": [other]}).status_code == 200
    mine = {"guards": [_GUARD], "version": version}
    assert_problem(guarded.call("PUT", "/v1/guards", json=mine), 409, "changed-meanwhile")
    assert _view(guarded)["source"] == "crm"


@pytest.mark.parametrize(
    ("guards", "field"),
    [
        ([{"source": "a"}], "guards.0"),
        ([{"source": "a", "limit": {"requests": 0, "window_s": 1}}], "guards.0.limit.requests"),
        ([{"source": "a*b", "dry_run": True}], "guards.0.source"),
        ([_GUARD, _GUARD], "guards"),
        ([{"source": "a", "canary": {"first": 2, "failed_max": 2}}], "guards.0"),
    ],
)
def test_what_cannot_be_meant_is_refused_whole(desk: Desk, guards: Any, field: str) -> None:
    reply = desk.call("PUT", "/v1/guards", json={"guards": guards})
    assert_problem(reply, 422, "invalid-request", field)
    assert desk.call("GET", "/v1/guards").json()["guards"] == []


def test_only_operators_change_guards(keys: KeyRing) -> None:
    with Desk(World(), keys_file=keys.path) as desk:
        reader = keys.add("ops", Scope.READ)
        Viewer(desk).look_again()
        for method, path, body in (
            ("PUT", "/v1/guards", {"guards": []}),
            ("POST", "/v1/guards/a/reset", None),
            ("POST", "/v1/holds/release", {"all": True}),
            ("POST", "/v1/holds/discard", {"all": True}),
        ):
            assert desk.call(method, path, key=reader, json=body).status_code == 403
        assert desk.call("GET", "/v1/guards", key=reader).status_code == 200


def test_an_operator_lets_go_in_the_console_what_is_held(viewer: Viewer, keys: KeyRing) -> None:
    crm, ops = keys.add("policy:a"), keys.add("ops", Scope.READ, Scope.OPERATE)
    viewer.look_again()
    viewer.desk.call("PUT", "/v1/guards", key=ops, json={"guards": [_GUARD]})
    for task in "12345":
        viewer.desk.call("POST", "/v1/stops", key=crm, json={"user_id": "u", "task_id": task})
    viewer.log_in(ops)
    page = viewer.get("/console/guards?guard=policy:*").text
    assert "tripped" in page
    assert page.count("Let go</button>") == 3
    preview = viewer.get("/console/guards/act?act=release&guard=policy:*").text
    assert "This lets go <strong>3</strong>" in preview
    token = viewer.token("/console/guards/act?act=release&guard=policy:*")
    form = {"act": "release", "guard": "policy:*"}
    reply = viewer.post("/console/guards/act", form, token=token)
    assert reply.headers["location"].endswith("release=3&moot=0")
    assert "Let go: 3." in viewer.get(reply.headers["location"]).text
    viewer.post("/console/guards/reset", {"guard": "policy:*"}, token=token)
    assert "begins anew" in viewer.get("/console/guards?reset=1").text
    assert ">lets through<" in viewer.get("/console/guards").text
    assert viewer.get("/console/guards/act?act=release&guard=x").status_code == 404
    assert viewer.get("/console/guards/act?act=x&guard=policy:*").status_code == 422
