"""`/v1/batches`: any number of lines, read as they come; a wrong one is refused alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from stopline_gateway.keys import Scope
from tests.support.gateway import Desk, KeyRing, assert_problem, in_pieces

if TYPE_CHECKING:
    import httpx

NDJSON, CSV, JSON = "application/x-ndjson", "text/csv", "application/json"
_FIELDS = [{"user_id": "u", "task_id": str(number)} for number in range(3)]
_BODIES = {
    NDJSON: b"".join(orjson.dumps(one) + b"\n" for one in _FIELDS),
    CSV: b"user_id,task_id\n" + b"".join(f"u,{number}\n".encode() for number in range(3)),
    JSON: orjson.dumps(_FIELDS),
}


def _send(desk: Desk, content: Any, media_type: str = NDJSON, query: str = "") -> httpx.Response:
    headers = {"Content-Type": media_type}
    return desk.call("POST", f"/v1/batches{query}", content=content, headers=headers)


@pytest.mark.parametrize("media_type", _BODIES)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_format_in_pieces_of_any_size(desk: Desk, media_type: str, size: int) -> None:
    raw = _BODIES[media_type]
    pieces = in_pieces(raw[at : at + size] for at in range(0, len(raw), size))
    reply = _send(desk, pieces, media_type)
    report = reply.json()
    assert reply.status_code == 202, report
    assert (report["lines"], report["receipts"], report["refused"]) == (3, {"accepted": 3}, 0)
    assert reply.headers["location"] == f"/v1/batches/{report['batch_id']}"
    desk.world.work()
    batch = desk.call("GET", reply.headers["location"]).json()
    assert (batch["total"], batch["pending"], batch["outcomes"]["stopped"]) == (3, 0, 3)
    assert desk.world.calls[0].target.task_id == "0"


def test_a_wrong_line_is_refused_alone(desk: Desk) -> None:
    raw = b"\n".join(
        [
            b'{"user_id":"u","task_id":"1"}',
            b"",
            b'{"user_id":"u"}',
            b'{"user_id":"u","task_id":"a b"}',
            b'{"user_id":"u","task_id":"2","task_id":"3"}',
            b'{"user_id":"u","task_id":"\xff"}',
            b'{"user_id":"u","task_id":"4","batch_id":"other"}',
            b"[" * 20_000,
            b'{"user_id":"u","task_id":"5"}',
        ]
    )
    report = _send(desk, raw).json()
    assert (report["lines"], report["receipts"], report["refused"]) == (8, {"accepted": 2}, 6)
    told = [(one["line"], one["field"]) for one in report["refused_lines"]]
    assert told == [
        (3, "task_id"),
        (4, "task_id"),
        (5, "task_id"),
        (6, None),
        (7, "batch_id"),
        (8, None),
    ]


def test_only_the_first_refused_lines_are_named(desk: Desk) -> None:
    report = _send(desk, b"{}\n" * 250).json()
    assert (report["refused"], len(report["refused_lines"])) == (250, 100)


def test_a_line_of_a_megabyte_is_refused_and_the_next_is_not(desk: Desk) -> None:
    pieces = [b'{"user_id":"', *[b"u" * 65536] * 16, b'"}\n', b'{"user_id":"u","task_id":"1"}']
    report = _send(desk, in_pieces(pieces)).json()
    assert (report["receipts"], report["refused"]) == ({"accepted": 1}, 1)
    assert "longer than" in report["refused_lines"][0]["reason"]


def test_the_same_batch_again_doubles_nothing(desk: Desk) -> None:
    for receipts in ({"accepted": 3}, {"duplicate": 3}):
        report = _send(desk, _BODIES[NDJSON], query="?batch_id=night").json()
        assert (report["batch_id"], report["receipts"]) == ("night", receipts)
    assert desk.call("GET", "/v1/batches/night").json()["total"] == 3


def test_a_dry_run_sends_nothing(desk: Desk) -> None:
    report = _send(desk, _BODIES[NDJSON] + b"{}\n", query="?batch_id=dry&dry_run=true").json()
    assert (report["lines"], report["receipts"], report["refused"]) == (4, {"accepted": 3}, 1)
    assert report["dry_run"] is True
    assert desk.world.work() == 0
    assert_problem(desk.call("GET", "/v1/batches/dry"), 404, "not-found")


def test_what_lines_leave_out_comes_from_the_query(desk: Desk) -> None:
    raw = (
        b'{"idempotency_key":"k1","user_id":"u","task_id":"1"}\n'
        b'{"idempotency_key":"k2","user_id":"u","task_id":"2","lane":"default","source":"day"}\n'
    )
    _send(desk, raw, query="?lane=emergency&source=night&reason=budget")
    found = []
    for task, key in (("1", "k1"), ("2", "k2")):  # a key that was used tells of which request
        again = {"user_id": "u", "task_id": task, "idempotency_key": key}
        receipt = desk.call("POST", "/v1/stops", json=again).json()
        assert receipt["receipt"] == "duplicate"
        found.append(desk.call("GET", f"/v1/stops/{receipt['request_id']}").json())
    assert [(one["lane"], one["source"], one["reason"]) for one in found] == [
        ("emergency", "night", "budget"),
        ("default", "day", "budget"),
    ]


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (b"", CSV),
        (b"user_id;task_id\nu;1\n", CSV),
        (b"user,task\nu,1\n", CSV),
        (b"", JSON),
        (b"{}", JSON),
        (b'"[]"', JSON),
        (b"[", JSON),
        (b"[] x", JSON),
        (b"]", JSON),
    ],
)
def test_what_is_no_batch_is_refused_whole(desk: Desk, raw: bytes, media_type: str) -> None:
    assert_problem(_send(desk, raw, media_type), 422, "invalid-request")
    assert desk.world.work() == 0


def test_an_array_that_breaks_off_tells_how_far_it_came(desk: Desk) -> None:
    raw = orjson.dumps(_FIELDS * 500)[:-1]
    reply = _send(desk, raw, JSON, "?batch_id=broken")
    assert_problem(reply, 422, "invalid-request")
    document = reply.json()
    assert document["batch_id"] == "broken"
    assert document["accepted"] == desk.call("GET", "/v1/batches/broken").json()["total"]


def test_an_empty_array_is_an_empty_batch(desk: Desk) -> None:
    report = _send(desk, b" [ ] \n", JSON).json()
    assert (report["lines"], report["receipts"]) == (0, {})


def test_other_formats_and_wrong_names_are_refused(desk: Desk) -> None:
    assert_problem(_send(desk, b"", "text/plain"), 415, "unsupported-media-type")
    wrong = _send(desk, _BODIES[NDJSON], query="?batch_id=a%20b")
    assert_problem(wrong, 422, "invalid-request", "batch_id")
    wrong = _send(desk, _BODIES[NDJSON], query="?lane=fast")
    assert_problem(wrong, 422, "invalid-request", "lane")


def test_redis_away_tells_how_far_it_came(desk: Desk) -> None:
    async def breaks_off() -> Any:
        yield _BODIES[NDJSON] * 1_000
        trouble.enter_context(desk.world.redis_is_away())
        yield _BODIES[NDJSON] * 1_000

    from contextlib import ExitStack  # noqa: PLC0415  # only here

    with ExitStack() as trouble:
        reply = _send(desk, breaks_off(), query="?batch_id=cut")
    assert_problem(reply, 503, "unavailable")
    document = reply.json()
    assert document["batch_id"] == "cut"
    assert 0 <= document["accepted"] <= 6_000


def test_a_line_cannot_speak_for_somebody_else(keys: KeyRing) -> None:
    key = keys.add("crm", Scope.BULK)
    raw = b'{"user_id":"u","task_id":"1"}\n{"user_id":"u","task_id":"2","source":"billing"}\n'
    with Desk(keys_file=keys.path) as desk:
        headers = {"Content-Type": NDJSON}
        reply = desk.call("POST", "/v1/batches", key=key, content=raw, headers=headers)
        report = reply.json()
        assert (report["receipts"], report["refused"]) == ({"accepted": 1}, 1)
        assert report["refused_lines"][0]["field"] == "source"
        path = "/v1/batches?source=billing"
        reply = desk.call("POST", path, key=key, content=raw, headers=headers)
        assert_problem(reply, 403, "forbidden", "source")


def test_cancelling_a_batch(desk: Desk) -> None:
    place = _send(desk, _BODIES[NDJSON]).headers["location"]
    results = desk.call("POST", f"{place}/cancel").json()["results"]
    assert results["cancelled"] == 3
    assert desk.world.work() == 0
    assert_problem(desk.call("POST", "/v1/batches/nobody/cancel"), 404, "not-found")


@pytest.mark.parametrize("query", ["?dryrun=true", "?batch_id=a&batch_id=b", "?dry_run=true&x="])
def test_a_misspelt_parameter_sends_nothing(desk: Desk, query: str) -> None:
    reply = _send(desk, _BODIES[NDJSON], query=query)
    assert (reply.status_code, reply.json()["type"]) == (
        422,
        "urn:stopline:problem:invalid-request",
    )
    assert desk.world.work() == 0


@pytest.mark.parametrize("line", [b"{}\n", b'{"user_id":"u","task_id":"t"}\n'])
def test_others_have_their_turn_while_a_batch_is_read(desk: Desk, line: bytes) -> None:
    """Whether its lines are refused or sent."""

    async def race() -> int:
        content = line * 20_000
        headers = {"Content-Type": NDJSON}
        batch = asyncio.create_task(
            desk.acall("POST", "/v1/batches?dry_run=true", content=content, headers=headers)
        )
        turns = 0
        while not batch.done():
            await asyncio.sleep(0)
            await desk.acall("GET", "/livez")
            turns += 1
        assert (await batch).json()["lines"] == 20_000
        return turns

    assert desk.run(race()) > 10


def test_a_batch_of_another_source_is_left_alone(keys: KeyRing) -> None:
    with Desk(keys_file=keys.path) as desk:
        bob, alice = keys.add("bob", Scope.BULK), keys.add("alice", Scope.BULK)
        desk.services.access._keys._look_at = float("-inf")  # type: ignore[union-attr]
        sent = {"content": b'{"user_id":"u","task_id":"1"}', "headers": {"Content-Type": NDJSON}}
        path = "/v1/batches?batch_id=shared"
        assert desk.call("POST", path, key=bob, **sent).status_code == 202
        assert desk.call("POST", path, key=bob, **sent).status_code == 202
        assert_problem(
            desk.call("POST", path, key=alice, **sent), 422, "invalid-request", "batch_id"
        )
