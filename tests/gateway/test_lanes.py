"""`/v1/gate`, `/v1/lanes`: whether calls are made, and lanes paused by people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.gateway import Desk, assert_problem

if TYPE_CHECKING:
    from typing import Any


def test_a_lane_is_paused_and_goes_on(desk: Desk) -> None:
    body = {"lasts_s": 60, "reason": "the vendor works on it"}
    paused = desk.call("POST", "/v1/lanes/bulk/pause", json=body)
    assert paused.status_code == 200
    (pause,) = paused.json()["pauses"]
    assert (pause["lane"], pause["reason"]) == ("bulk", "the vendor works on it")
    assert desk.call("GET", "/v1/gate").json()["pauses"] == [pause]
    ready = desk.call("GET", "/readyz").json()
    assert ready["ready"]
    assert "lane bulk: paused by" in ready["warnings"][0]
    assert desk.call("POST", "/v1/lanes/bulk/resume").json()["pauses"] == []
    entries = [one.action for one in desk.run(_trail(desk))]
    assert entries[:2] == ["lane_resume", "lane_pause"]


async def _trail(desk: Desk) -> list[Any]:
    return [one async for one in desk.services.client.audit_trail()]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "r"}, "lasts_s"),
        ({"lasts_s": 0, "reason": "r"}, "lasts_s"),
        ({"lasts_s": 86_401, "reason": "r"}, "lasts_s"),
        ({"lasts_s": 60}, "reason"),
        ({"lasts_s": 60, "reason": ""}, "reason"),
        ({"lasts_s": 60, "reason": "r", "more": 1}, "more"),
    ],
)
def test_what_cannot_be_meant_is_refused(desk: Desk, body: dict[str, Any], field: str) -> None:
    reply = desk.call("POST", "/v1/lanes/bulk/pause", json=body)
    assert_problem(reply, 422, "invalid-request", field)


def test_a_lane_that_there_is_not(desk: Desk) -> None:
    reply = desk.call("POST", "/v1/lanes/fast/pause", json={"lasts_s": 60, "reason": "r"})
    assert reply.status_code in {404, 422}
