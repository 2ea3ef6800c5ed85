"""Scripted faults of the upstream: outcome, attempts, delays, and what the record says of them."""

from __future__ import annotations

import http.server
import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from stopline import Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Stack


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another host, and what it was asked for."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", seen
    server.shutdown()
    thread.join()
    server.server_close()


def _rules(elsewhere: str) -> list[dict[str, Any]]:
    return [
        {"task_id": "flaky", "replies": [{"http_status": 500, "times": 2}]},
        {"task_id": "busy", "replies": [{"http_status": 429, "headers": {"Retry-After": "2"}}]},
        {"task_id": "hang", "replies": [{"action": "hang"}]},
        {"task_id": "reset", "replies": [{"action": "reset"}]},
        {"task_id": "code-500", "replies": [{"body": {"status": "error", "code": 500}}]},
        {"task_id": "code-404", "replies": [{"body": {"status": "error", "code": 404}}]},
        {"task_id": "html", "replies": [{"text": "<html>maintenance</html>"}]},
        {"task_id": "moved", "replies": [{"http_status": 302, "headers": {"Location": elsewhere}}]},
        {"task_id": "drip", "replies": [{"action": "drip"}]},
        {
            "task_id": "cookie",
            "replies": [{"http_status": 503, "headers": {"Set-Cookie": "session=1"}, "times": 2}],
        },
        {"task_id": "huge", "replies": [{"text": "x" * 200_000}]},
        {"task_id": "array", "replies": [{"text": "[]"}]},
        {"task_id": "no-status", "replies": [{"body": {"code": 200}}]},
        {"task_id": "odd", "replies": [{"body": {"code": 777, "message": "m" * 1000}}]},
        {"task_id": "bad", "replies": [{"http_status": 400}], "for_ever": True},
        {"task_id": "down", "replies": [{"http_status": 503}], "for_ever": True},
    ]


def _log(outcome: Outcome) -> list[tuple[int | None, int | None, str]]:
    return [(one.http_status, one.code, one.verdict) for one in outcome.attempts]


def test_each_fault_ends_as_the_verdict_table_says(
    stack: Stack, elsewhere: tuple[str, list[str]]
) -> None:
    url, seen_elsewhere = elsewhere
    stack.api.start(_rules(url))
    stack.settings.update(
        connect_timeout_s=0.5, read_timeout_s=0.5, call_timeout_s=1, max_upstream_failures=4
    )
    rules = _rules(url)
    receipts = {
        rule["task_id"]: stack.client.stop("u", rule["task_id"]).request_id for rule in rules
    }
    stack.worker()
    outcomes = {name: stack.client.wait(one, 60) for name, one in receipts.items()}

    success = (200, 200, "STOPPED")
    assert {name: (one.outcome, _log(one)) for name, one in outcomes.items()} == {
        "flaky": (OutcomeKind.STOPPED, [(500, 500, "RETRY")] * 2 + [success]),
        "busy": (OutcomeKind.STOPPED, [(429, 429, "RETRY"), success]),
        "hang": (OutcomeKind.STOPPED, [(None, None, "RETRY"), success]),
        "reset": (OutcomeKind.STOPPED, [(None, None, "RETRY"), success]),
        "code-500": (OutcomeKind.STOPPED, [(200, 500, "RETRY"), success]),
        "code-404": (OutcomeKind.NOT_FOUND, [(200, 404, "NOT_FOUND")]),
        "html": (OutcomeKind.STOPPED, [(200, None, "RETRY"), success]),
        "moved": (OutcomeKind.REJECTED, [(302, 302, "REJECTED")]),
        "drip": (OutcomeKind.STOPPED, [(None, None, "RETRY"), success]),
        "cookie": (OutcomeKind.STOPPED, [(503, 503, "RETRY")] * 2 + [success]),
        "huge": (OutcomeKind.STOPPED, [(200, None, "RETRY"), success]),
        "array": (OutcomeKind.STOPPED, [(200, None, "RETRY"), success]),
        "no-status": (OutcomeKind.STOPPED, [(200, 200, "RETRY"), success]),
        "odd": (OutcomeKind.STOPPED, [(200, 777, "RETRY"), success]),
        "bad": (OutcomeKind.REJECTED, [(400, 400, "REJECTED")]),
        "down": (OutcomeKind.EXHAUSTED, [(503, 503, "RETRY")] * 4),
    }
    _assert_record_agrees_with_calls(stack, outcomes)

    assert seen_elsewhere == []
    assert all(call["cookie"] is None for call in stack.api.calls("u/cookie"))
    assert str(outcomes["hang"].attempts[0].error).startswith("timeout")
    assert str(outcomes["drip"].attempts[0].error).startswith("timeout")
    assert str(outcomes["reset"].attempts[0].error).startswith("read")
    assert len(str(outcomes["odd"].attempts[0].message)) == 200
    busy = outcomes["busy"].attempts
    assert busy[0].retry_in_s is not None
    assert busy[0].retry_in_s >= 2
    _assert_limits_held(outcomes)


def _assert_limits_held(outcomes: dict[str, Outcome]) -> None:
    busy = outcomes["busy"].attempts
    for outcome in outcomes.values():
        for attempt in outcome.attempts:
            assert attempt.duration_ms is not None
            # The limit of the whole call, and what a busy machine may add.
            assert attempt.duration_ms < 1000 + 2000
            ceiling_s = min(0.2, 0.05 * 2 ** (attempt.number - 1))
            if attempt.retry_in_s is not None and attempt is not busy[0]:
                assert 0 <= attempt.retry_in_s <= ceiling_s + 0.001


def _assert_record_agrees_with_calls(stack: Stack, outcomes: dict[str, Outcome]) -> None:
    """As many calls as attempts, none before its delay was over, and the CLI shows the same."""
    for name, outcome in outcomes.items():
        calls = stack.api.calls(f"u/{name}")
        assert len(calls) == len(outcome.attempts), name
        for earlier, call, attempt in zip(calls, calls[1:], outcome.attempts, strict=False):
            assert call["at"] - earlier["at"] >= (attempt.retry_in_s or 0)
        assert {call["content_type"] for call in calls} == {"application/json"}
    shown = stack.run("status", outcomes["flaky"].request_id, "--json")
    assert orjson.loads(shown.stdout) == outcomes["flaky"].to_json()


def test_a_rotated_token_is_read_again(stack: Stack) -> None:
    """401 until the token file changes."""
    path = stack.directory / "token"
    path.write_text("old-token\n")
    stack.api.start()
    stack.settings.update(api_token=None, api_token_file=path, max_attempts=100)
    stack.worker()
    receipt = stack.client.stop("u", "t")
    end = time.monotonic() + 60
    while not stack.api.calls("u/t"):
        assert time.monotonic() < end
        time.sleep(0.01)
    path.write_text("t0ken-that-nobody-may-see\n")
    outcome = stack.client.wait(receipt.request_id, 60)
    assert outcome.outcome is OutcomeKind.STOPPED
    assert {one.http_status for one in outcome.attempts[:-1]} == {401}


def test_an_api_that_is_down_is_tried_again_until_it_is_up(stack: Stack) -> None:
    stack.api.start()
    url = stack.api.url
    stack.api.stop()
    stack.settings.update(max_attempts=1000, api_url=url)
    stack.worker()
    receipt = stack.client.stop("u", "t")
    end = time.monotonic() + 60
    while not stack.client.status(receipt.request_id).attempts:
        assert time.monotonic() < end
        time.sleep(0.05)
    error = stack.client.status(receipt.request_id).attempts[0].error
    assert str(error).startswith("connect: ")
    stack.client.cancel(receipt.request_id)
    assert stack.client.wait(receipt.request_id, 60).outcome is OutcomeKind.CANCELLED
