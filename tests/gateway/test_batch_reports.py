"""Reports of batches over HTTP, and from the console's page of a batch."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import orjson
import pytest

from stopline.ledger.limits import Limits
from stopline.testing import Answer, World
from stopline_gateway.keys import Scope
from tests.support.console import Viewer
from tests.support.gateway import Desk, KeyRing, assert_problem

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk() -> Iterator[Desk]:
    world = World(Limits(counts=True, recent_max=100))
    world.answer("u", "2", always=Answer.REJECTED)
    with Desk(world) as desk:
        _send(desk)
        yield desk


def _send(desk: Desk, key: str | None = None) -> None:
    lines = b"".join(b'{"user_id":"u","task_id":"%d"}\n' % number for number in range(250))
    headers = {"Content-Type": "application/x-ndjson"}
    desk.call("POST", "/v1/batches?batch_id=b", content=lines, headers=headers, key=key)
    desk.world.work()


def test_every_line_with_its_outcome(desk: Desk) -> None:
    reply = desk.call("GET", "/v1/batches/b/report")
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    lines = [orjson.loads(line) for line in reply.text.splitlines()]
    assert [line["task_id"] for line in lines] == [str(number) for number in range(250)]
    assert [line["place"] for line in lines] == list(range(1, 251))
    assert [one["outcome"] for one in lines[:4]] == ["stopped", "stopped", "rejected", "stopped"]


def test_the_same_as_csv(desk: Desk) -> None:
    reply = desk.call("GET", "/v1/batches/b/report?format=csv")
    assert reply.headers["content-disposition"] == 'attachment; filename="report-b.csv"'
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert len(rows) == 250
    assert (rows[2]["task_id"], rows[2]["outcome"], rows[2]["called_at"]) == ("2", "rejected", "")


def test_undo_names_what_was_stopped_and_not_resumed(desk: Desk) -> None:
    desk.call("POST", "/v1/resumes", json={"user_id": "u", "task_id": "0"})
    reply = desk.call("GET", "/v1/batches/b/undo?format=csv")
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert rows[0] == {"user_id": "u", "task_id": "1", "sub_user_id": ""}
    assert {row["task_id"] for row in rows} == {str(number) for number in range(250)} - {"0", "2"}


@pytest.mark.parametrize("what", ["report", "undo"])
def test_what_is_wrong_is_said_before_the_first_row(desk: Desk, what: str) -> None:
    assert_problem(desk.call("GET", f"/v1/batches/none/{what}"), 404, "not-found")
    assert_problem(desk.call("GET", f"/v1/batches/a b/{what}"), 404, "not-found")
    assert_problem(
        desk.call("GET", f"/v1/batches/b/{what}?format=xml"), 422, "invalid-request", "format"
    )
    with desk.world.redis_is_away():
        assert_problem(desk.call("GET", f"/v1/batches/b/{what}"), 503, "unavailable")


def test_the_console_hands_both_out_to_who_may_read(keys: KeyRing) -> None:
    with Desk(World(Limits(counts=True, recent_max=100)), keys_file=keys.path) as desk:
        sender = keys.add("crm", Scope.BULK)
        viewer = Viewer(desk)
        viewer.look_again()
        _send(desk, sender)
        assert viewer.get("/console/batches/b/report").status_code == 303
        viewer.log_in(keys.add("ops", Scope.READ))
        page = viewer.get("/console/batches/b").text
        for what in ("report", "undo"):
            assert f'href="/console/batches/b/{what}"' in page
            reply = viewer.get(f"/console/batches/b/{what}")
            assert reply.headers["content-type"].startswith("text/csv")
            assert len(reply.text.splitlines()) == 251
            assert viewer.get(f"/console/batches/none/{what}").status_code == 404
