"""`/v1/history`, and the console's page: what the ledger has forgotten is found in the archive."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from stopline.contract import OutcomeKind
from stopline_archive.archive import Archive
from tests.outcomes.made import START, outcome
from tests.support.console import Viewer
from tests.support.gateway import Desk, assert_problem


@pytest.fixture
def archive() -> Archive:
    """Where the gateway looks: in DATA_DIR of the directory that tests run in."""
    Path(".stopline").mkdir()
    archive = Archive(make_url(f"sqlite:///{Path('.stopline/archive.db').absolute()}"))
    archive.prepare()
    archive.put([outcome(n, reason="<over> budget") for n in range(120)])
    archive.put([outcome(500, task_id="t1", outcome=OutcomeKind.EXPIRED, source="crm 2")])
    return archive


def test_pages_by_a_filter(desk: Desk, archive: Archive) -> None:
    del archive
    page = desk.call("GET", "/v1/history?limit=100").json()
    assert len(page["outcomes"]) == 100
    rest = desk.call("GET", f"/v1/history?limit=100&cursor={page['next']}").json()
    assert (len(rest["outcomes"]), rest["next"]) == (21, None)
    of_task = desk.call("GET", "/v1/history?task_id=t1").json()["outcomes"]
    assert [one["outcome"] for one in of_task] == ["expired", "stopped"]
    since = (START + timedelta(seconds=119)).isoformat().replace("+00:00", "Z")
    assert len(desk.call("GET", f"/v1/history?since={since}").json()["outcomes"]) == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("cursor=x", "cursor"),
        ("outcome=lost", "outcome"),
        ("limit=0", "limit"),
        ("task=t", "task"),
    ],
)
def test_what_cannot_be_meant(desk: Desk, archive: Archive, query: str, field: str) -> None:
    del archive
    assert_problem(desk.call("GET", f"/v1/history?{query}"), 422, "invalid-request", field)


def test_without_an_archive(desk: Desk) -> None:
    assert_problem(desk.call("GET", "/v1/history"), 404, "no-archive")
    page = Viewer(desk).get("/console/history")
    assert page.status_code == 200
    assert "stopline outcomes run" in page.text
    assert not Path(".stopline").exists()


def test_a_database_that_breaks_is_told_of_without_its_place(desk: Desk, archive: Archive) -> None:
    assert desk.call("GET", "/v1/history").status_code == 200
    archive.close()
    for file in Path(".stopline").iterdir():
        file.write_bytes(b"this is no database" * 1000)
    reply = desk.call("GET", "/v1/history")
    assert_problem(reply, 503, "unavailable")
    assert ".stopline" not in reply.text


def test_people_search_it_and_see_a_request_that_the_ledger_forgot(
    desk: Desk, archive: Archive
) -> None:
    del archive
    viewer = Viewer(desk)
    page = viewer.get("/console/history?task_id=t1").text
    assert "crm 2" in page
    assert "&lt;over&gt; budget" in page
    assert "<over>" not in page
    older = viewer.get("/console/history").text
    assert "/console/history?cursor=" in older
    assert "over" in viewer.get("/console/requests/r00000001").text
    assert viewer.get("/console/history?outcome=lost").status_code == 422
    assert viewer.get("/console/requests/nobody").status_code == 404
