"""`POST /v1/batches/{id}/…`: a batch as a whole, over HTTP and from the console's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.ledger.limits import Limits
from stopline.testing import Answer, World
from stopline_gateway.keys import Scope
from tests.support.console import Viewer
from tests.support.gateway import Desk, KeyRing, assert_problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NDJSON = {"Content-Type": "application/x-ndjson"}
LINES = b"".join(b'{"user_id":"u","task_id":"%d"}\n' % number for number in range(5))


@pytest.fixture
def desk() -> Iterator[Desk]:
    world = World(Limits(counts=True, recent_max=100))
    world.answer("u", "2", always=Answer.REJECTED)
    with Desk(world) as desk:
        yield desk


def _send(desk: Desk, query: str = "") -> None:
    path = f"/v1/batches?batch_id=b{query}"
    assert desk.call("POST", path, content=LINES, headers=NDJSON).status_code == 202


def test_it_waits_and_goes_on(desk: Desk) -> None:
    _send(desk)
    paused = desk.call("POST", "/v1/batches/b/pause", json={"reason": "the wrong list"}).json()
    assert paused["paused"]["reason"] == "the wrong list"
    assert desk.world.work() == 0
    assert desk.call("GET", "/v1/batches/b").json()["paused"] == paused["paused"]
    resumed = desk.call("POST", "/v1/batches/b/resume").json()
    assert (resumed["paused"], resumed["pending"]) == (None, 5)
    assert desk.world.work() == 5
    actions = [one.action for one in desk.run(_trail(desk))]
    assert actions[:2] == ["batch_resume", "batch_pause"]


async def _trail(desk: Desk) -> list[Any]:
    return [one async for one in desk.services.client.audit_trail()]


def test_what_was_not_stopped_is_sent_again_outside_the_batch(desk: Desk) -> None:
    _send(desk)
    desk.world.work()
    body = {"outcomes": ["rejected"], "reason": "no such text"}
    nothing = desk.call("POST", "/v1/batches/b/redrive", json=body).json()
    assert nothing == {"batch_id": "b", "redriven": 0, "receipts": {}}
    found = desk.call("POST", "/v1/batches/b/redrive", json={}).json()
    assert (found["redriven"], found["receipts"]) == (1, {"accepted": 1})
    assert desk.world.work() == 1
    assert desk.call("GET", "/v1/batches/b").json()["total"] == 5


def test_a_batch_says_what_it_is_and_whose(desk: Desk) -> None:
    _send(desk, "&name=night%20run&source=crm&reason=budget")
    found = desk.call("GET", "/v1/batches/b").json()
    assert (found["name"], found["source"], found["reason"]) == ("night run", "crm", "budget")
    _send(desk, "&name=another")
    assert desk.call("GET", "/v1/batches/b").json()["name"] == "night run"


def test_a_dry_run_tells_what_would_become_of_each_line(desk: Desk) -> None:
    desk.call("POST", "/v1/stops", json={"user_id": "u", "task_id": "1"})
    again = LINES + b'{"user_id":"u","task_id":"0"}\n{"user_id":"u"}\n'
    path = "/v1/batches?batch_id=b&dry_run=true"
    found = desk.call("POST", path, content=again, headers=NDJSON).json()
    assert found["receipts"] == {"accepted": 4, "joined": 2}
    assert (found["refused"], found["lines"]) == (1, 7)
    assert_problem(desk.call("GET", "/v1/batches/b"), 404, "not-found")


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("pause", {}, "reason"),
        ("pause", {"reason": ""}, "reason"),
        ("pause", {"reason": "r", "lasts_s": 5}, "lasts_s"),
        ("redrive", {"outcomes": ["stopped"]}, "outcome"),
        ("redrive", {"outcomes": ["lost"]}, "outcomes.0"),
        ("redrive", {"outcome": "expired"}, "outcome"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    desk: Desk, verb: str, body: dict[str, Any], field: str
) -> None:
    _send(desk)
    reply = desk.call("POST", f"/v1/batches/b/{verb}", json=body)
    assert_problem(reply, 422, "invalid-request", field)


@pytest.mark.parametrize(
    ("verb", "body"), [("pause", {"reason": "r"}), ("resume", None), ("redrive", {})]
)
def test_a_batch_that_there_is_not(desk: Desk, verb: str, body: dict[str, Any] | None) -> None:
    assert_problem(desk.call("POST", f"/v1/batches/b/{verb}", json=body), 404, "not-found")


def test_the_console_pauses_it_lets_it_go_on_and_sends_again(desk: Desk) -> None:
    _send(desk)
    viewer = Viewer(desk)
    assert "/console/batches/b/pause" in viewer.get("/console/batches/b").text
    token = viewer.token("/console/batches/b")
    viewer.post("/console/batches/b/pause", {"reason": "the <wrong> list"}, token=token)
    assert "the &lt;wrong&gt; list" in viewer.get("/console/batches/b?paused=1").text
    assert desk.world.work() == 0
    assert "paused" in viewer.get("/console/batches").text
    viewer.post("/console/batches/b/resume", {}, token=token)
    assert desk.world.work() == 5
    reply = viewer.post("/console/batches/b/redrive", {}, token=token)
    assert reply.headers["location"] == "/console/batches/b?redriven=1"
    assert "Sent again: 1" in viewer.get(reply.headers["location"]).text


def test_a_reader_of_the_console_cannot(keys: KeyRing) -> None:
    with Desk(World(Limits(counts=True, recent_max=100)), keys_file=keys.path) as desk:
        viewer = Viewer(desk)
        viewer.log_in(keys.add("ops", Scope.READ))
        for verb in ("pause", "resume", "redrive", "cancel"):
            reply = viewer.post(f"/console/batches/b/{verb}", {"reason": "r"})
            assert reply.status_code == 403, verb
