"""Care for the API, guards and verified stops, with real processes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson

from stopline import Lane
from stopline.cli.options import operator
from stopline.contract import (
    Canary,
    Guard,
    GuardLimit,
    OutcomeKind,
    StopRequest,
    Verified,
)
from tests.conftest import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Stack


def _stop_many(stack: Stack, count: int, source: str = "bulk") -> str:
    requests = [
        StopRequest(user_id="u", task_id=str(number), lane=Lane.BULK, source=source)
        for number in range(count)
    ]
    return stack.client.stop_many(requests).batch_id


def _let_pass(seconds: float) -> None:
    """What is looked at is what does not happen meanwhile."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end)


def _ended(stack: Stack, batch_id: str) -> bool:
    return stack.client.batch(batch_id).finished_at is not None


def test_an_expired_token_burns_nothing_and_a_new_one_in_the_file_is_enough(
    stack: Stack, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("t0ken-that-nobody-may-see")
    stack.settings |= {
        "api_token": None,
        "api_token_file": str(token),
        "probe_interval_s": 0.5,
        "max_upstream_failures": 3,
    }
    stack.api.start()
    for _ in range(2):
        stack.worker()
    stack.api.rotate_token("new-t0ken")
    batch_id = _stop_many(stack, 1_000)
    client = stack.client
    wait_until(lambda: client.gate.look().cause is not None)
    _let_pass(2)  # what was in flight when the gate was shut
    before = stack.api.total["unauthorized"]
    _let_pass(3)
    probes = stack.api.total["unauthorized"] - before
    assert 1 <= probes <= 10, "two a second, over all workers"
    assert client.batch(batch_id).pending == 1_000
    assert b"refuses the token" in stack.run("health").stderr
    token.write_text("new-t0ken")
    wait_until(lambda: _ended(stack, batch_id), limit_s=60)
    assert client.batch(batch_id).outcomes[OutcomeKind.STOPPED] == 1_000
    assert client.gate.look().cause is None


def test_an_api_that_is_away_gets_a_probe_now_and_then(stack: Stack) -> None:
    stack.settings |= {"breaker": "10/20", "probe_interval_s": 0.5, "max_attempts": 3}
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    stack.api.outage(503)
    batch_id = _stop_many(stack, 2_000)
    client = stack.client
    wait_until(lambda: client.gate.look().cause is not None)
    _let_pass(2)
    before = stack.api.total["calls"]
    _let_pass(3)
    assert stack.api.total["calls"] - before <= 10
    stack.api.outage(None)
    back_at = time.monotonic()
    wait_until(lambda: client.gate.look().cause is None)
    assert time.monotonic() - back_at < 5
    wait_until(lambda: _ended(stack, batch_id), limit_s=60)
    assert client.batch(batch_id).outcomes[OutcomeKind.STOPPED] == 2_000


def test_all_workers_keep_one_rate(stack: Stack) -> None:
    stack.settings |= {"rate_limit": "100/s,burst=20"}
    stack.api.start()
    for _ in range(2):
        stack.worker()
    stack.wait_ready()
    batch_id = _stop_many(stack, 600)
    wait_until(lambda: _ended(stack, batch_id), limit_s=60)
    times = sorted(stack.api.times)
    in_a_second = max(sum(first <= at < first + 1 for at in times) for first in times)
    assert in_a_second <= 100 + 20 + 5, "a few are on their way"
    assert times[-1] - times[0] < 600 / 100 * 1.5


def test_a_paused_lane_makes_no_call_and_goes_on(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    done = stack.run("lane", "pause", "bulk", "--reason", "the vendor works", "--for", "10m")
    assert done.returncode == 0
    assert f"paused by {operator().name}".encode() in done.stderr
    batch_id = _stop_many(stack, 20)
    urgent = stack.client.stop("u", "urgent", lane=Lane.EMERGENCY)
    stack.client.wait(urgent.request_id, 30)
    assert stack.client.batch(batch_id).pending == 20
    assert stack.run("lane", "resume", "bulk").returncode == 0
    wait_until(lambda: _ended(stack, batch_id), limit_s=60)


def test_a_policy_gone_wild_stops_as_many_as_its_guard_lets(stack: Stack, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n  - name: wild\n    when: event.type == 'x'\n"
        "    stop: {user_id: event.data.u, task_id: event.data.t}\n"
    )
    stack.api.start()
    stack.worker()
    gateway = stack.gateway(variables={"STOPLINE_POLICY_FILE": str(rules)})
    guard = Guard(source="policy:*", limit=GuardLimit(requests=200, window_s=60))
    client = stack.client
    client.guards.apply([guard])
    events = [
        {
            "specversion": "1.0",
            "id": str(n),
            "source": "/s",
            "type": "x",
            "data": {"u": "u", "t": f"t{n}"},
        }
        for n in range(2_000)
    ]
    for first in range(0, len(events), 1_000):
        stack.post(
            f"{gateway.url}/v1/events",
            orjson.dumps(events[first : first + 1_000]),
            "application/cloudevents-batch+json",
        )
    wait_until(lambda: stack.api.total["targets"] == 200)
    (view,) = client.guards.look().views
    assert (view.trip, view.held) == ("limit", 1_800)
    trips = [one for one in client.audit_trail() if one.action == "guard_trip"]
    assert len(trips) == 1
    held = [one.task_id for one in client.guards.held("policy:*")]
    own = client.stop("u", held[0], source="ops")
    assert client.wait(own.request_id, 30).outcome is OutcomeKind.STOPPED
    client.resumed("u", held[1])
    done = stack.run("held", "release", "--guard", "policy:*", "--yes", "--json")
    assert orjson.loads(done.stdout) == {"released": 1_798}
    wait_until(lambda: stack.api.total["targets"] == 1_999, limit_s=60)
    assert not stack.api.calls(f"u/{held[1]}")


def test_a_canary_that_fails_stops_the_rest(stack: Stack) -> None:
    said = {"status": "error", "code": 400, "message": "no"}
    stack.api.start([{"task_id": "bad*", "replies": [{"http_status": 400, "body": said}] * 9}])
    stack.worker()
    client = stack.client
    client.guards.apply([Guard(source="p", canary=Canary(first=20, failed_max=9))])
    names = [f"{'bad' if number % 2 else 'good'}{number}" for number in range(100)]
    for name in names:
        client.stop("u", name, source="p")
    wait_until(lambda: client.guards.look().views[0].trip is not None)
    assert stack.api.total["targets"] <= 20
    assert client.guards.look().held == 80


def test_a_stop_is_verified_or_tried_again(stack: Stack) -> None:
    stack.settings |= {"verify": "v1", "max_attempts": 2}
    stack.api.start([{"task_id": "liar", "replies": [], "keeps_running": True}])
    stack.worker()
    client = stack.client
    fine, liar = client.stop("u", "fine"), client.stop("u", "liar")
    assert client.wait(fine.request_id, 30).verified is Verified.PAUSED
    outcome = client.wait(liar.request_id, 30)
    assert outcome.outcome is OutcomeKind.EXHAUSTED
    assert [one.verified for one in outcome.attempts] == [Verified.RUNNING] * 2
