"""`/v1/dead-letters`: pages without gaps, and nothing is touched that was not meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stopline.contract import junk_of
from stopline.testing import Answer
from stopline_gateway.routes import dead_letters
from tests.support.gateway import Desk, assert_problem

if TYPE_CHECKING:
    import httpx


def _die(desk: Desk, *names: str, user_id: str = "u") -> list[str]:
    """Requests that the API rejects; their ids."""
    ids = []
    for name in names:
        desk.world.answer(user_id, name, Answer.REJECTED)
        ids.append(desk.stop(user_id, name).json()["request_id"])
    desk.world.work()
    return ids


def _post(desk: Desk, verb: str, **body: Any) -> httpx.Response:
    return desk.call("POST", f"/v1/dead-letters/{verb}", json=body)


def test_pages_have_each_letter_once(desk: Desk) -> None:
    ids = _die(desk, *(str(number) for number in range(7)))
    found: list[str] = []
    cursor = None
    while True:
        query = f"?limit=3{f'&cursor={cursor}' if cursor else ''}"
        page = desk.call("GET", f"/v1/dead-letters{query}").json()
        found += [one["request_id"] for one in page["letters"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(found) == sorted(ids)


def test_a_filter_and_a_wrong_cursor(desk: Desk) -> None:
    _die(desk, "1")
    theirs = _die(desk, "1", user_id="other")
    page = desk.call("GET", "/v1/dead-letters?user_id=other&outcome=rejected").json()
    assert [one["request_id"] for one in page["letters"]] == theirs
    assert desk.call("GET", "/v1/dead-letters?outcome=expired").json()["letters"] == []
    for cursor in ("x", "AAAA", "WzEsMl0=", "WzI1MzQwMjMwMDc5OTk5OTk5OSxbXV0="):
        reply = desk.call("GET", f"/v1/dead-letters?cursor={cursor}")
        assert_problem(reply, 422, "invalid-request", "cursor")


def test_sending_again_what_a_filter_means(desk: Desk) -> None:
    ids = _die(desk, "1", "2")
    _die(desk, "1", user_id="other")
    report = _post(desk, "redrive", filter={"user_id": "u"}).json()
    assert sorted(report["receipts"]) == sorted(ids)
    assert report["more"] is False
    desk.world.work()
    assert len(desk.world.stopped) == 2
    assert _post(desk, "redrive", filter={"user_id": "u"}).json()["receipts"] == {}


def test_by_ids_what_is_none_is_told_and_the_rest_is_done(desk: Desk) -> None:
    ids = _die(desk, "1", "2")
    assert_problem(_post(desk, "redrive", ids=["nobody"]), 404, "not-found")
    report = _post(desk, "discard", ids=[ids[0], "nobody", ids[0]]).json()
    assert (report["discarded"], report["unknown"], report["more"]) == (1, ["nobody"], False)
    report = _post(desk, "redrive", ids=ids).json()
    assert (list(report["receipts"]), report["unknown"]) == ([ids[1]], [ids[0]])
    assert desk.call("GET", "/v1/dead-letters").json()["letters"] == []


def test_messages_of_streams_stay_and_hold_up_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_A_CALL_MAX", 1)
    for number in range(3):
        junk = junk_of(b"x", "no JSON", message_id=f"bridge-{number}", origin=f"stops, {number}-0")
        desk.run(desk.services.client.quarantine(junk))
    ids = _die(desk, "1")
    report = _post(desk, "redrive", all=True).json()
    assert list(report["receipts"]) == ids
    assert (report["kept"], report["more"]) == (["bridge-0", "bridge-1", "bridge-2"], False)


def test_many_that_died_together_fit_into_a_cursor(desk: Desk) -> None:
    ids = _die(desk, *(str(number) for number in range(120)))
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = desk.call("GET", f"/v1/dead-letters?limit=100{cursor}")
        assert page.status_code == 200, page.text
        found += [one["request_id"] for one in page.json()["letters"]]
        cursor = page.json()["next"] and f"&cursor={page.json()['next']}"
    assert sorted(found) == sorted(ids)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": {}},
        {"filter": {"user_id": None}},
        {"ids": ["a"], "all": True},
        {"filter": {"user_id": "u"}, "ids": ["a"]},
    ],
)
def test_what_means_nothing_or_two_things_is_refused(desk: Desk, body: dict[str, Any]) -> None:
    _die(desk, "1")
    assert_problem(_post(desk, "discard", **body), 422, "invalid-request")
    assert len(desk.call("GET", "/v1/dead-letters").json()["letters"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": []}, "ids"),
        ({"filter": {"colour": "red"}}, "filter.colour"),
        ({"x": 1}, "x"),
        ({"all": False}, "all"),
    ],
)
def test_a_wrong_field_is_named(desk: Desk, body: dict[str, Any], field: str) -> None:
    assert_problem(_post(desk, "redrive", **body), 422, "invalid-request", field)


def test_all_of_them_some_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "_A_CALL_MAX", 2)
    _die(desk, "1", "2", "3")
    for discarded, more in ((2, True), (1, False)):
        report = _post(desk, "discard", all=True).json()
        assert (report["discarded"], report["more"]) == (discarded, more)
