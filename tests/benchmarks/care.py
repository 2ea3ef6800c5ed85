"""What care for the API and guards do at full size: `make care`, some four minutes.

Each show prints what was asked and what was found; exit 1 if one is not as it should be.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
from rich.console import Console
from rich.table import Table

from stopline import Lane
from stopline.contract import Guard, GuardLimit, OutcomeKind, StopRequest
from stopline_events.cloud_events import event_of
from stopline_events.rules.rule_file import read_rules
from tests.conftest import wait_until
from tests.support.processes import TOKEN, Stack
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OPEN: Final = 100_000
_LIMIT_S: Final = 600.0


class Shown:
    """What was asked, and what was found."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, bool]] = []

    def add(self, asked: str, found: str, *, is_right: bool) -> None:
        """One line of the table."""
        self.rows.append((asked, found, is_right))
        sys.stderr.write(f"{'ok' if is_right else 'WRONG'}: {asked}: {found}\n")


def _requests(count: int, prefix: str = "") -> Iterator[StopRequest]:
    lanes = tuple(Lane)
    for number in range(count):
        yield StopRequest(user_id="u", task_id=f"{prefix}{number}", lane=lanes[number % 3])


def _send(stack: Stack, count: int) -> str:
    return stack.client.stop_many(_requests(count)).batch_id


def _finish(stack: Stack, batch_id: str) -> None:
    client = stack.client
    wait_until(lambda: client.batch(batch_id).finished_at, limit_s=_LIMIT_S)


def token_expired(stack: Stack, shown: Shown) -> None:
    """The token expires with a hundred thousand requests open."""
    file = stack.directory / "token"
    file.write_text(TOKEN)
    stack.settings |= {"api_token": None, "api_token_file": str(file), "deadline_s": 7200}
    stack.settings |= {"backoff_base_s": 0.5, "backoff_cap_s": 60, "max_upstream_failures": 5}
    stack.api.start()
    stack.api.rotate_token("new")
    batch_id = _send(stack, _OPEN)
    for _ in range(4):
        stack.worker()
    wait_until(lambda: stack.client.gate.look().cause, limit_s=_LIMIT_S)
    time.sleep(5)
    before, began = stack.api.total["unauthorized"], time.monotonic()
    time.sleep(10)
    rate = (stack.api.total["unauthorized"] - before) / (time.monotonic() - began)
    shown.add("a few probes a second at most", f"{rate:.1f} a second", is_right=rate <= 3)
    pending = stack.client.batch(batch_id).pending
    shown.add("none lost, none dead", f"{pending:,} of {_OPEN:,} open", is_right=pending == _OPEN)
    file.write_text("new")
    began = time.monotonic()
    _finish(stack, batch_id)
    stopped = stack.client.batch(batch_id).outcomes[OutcomeKind.STOPPED]
    took = time.monotonic() - began
    found = f"{stopped:,} stopped {took:.0f} s after it"
    shown.add("a new token in the file: all stopped", found, is_right=stopped == _OPEN)


def api_away(stack: Stack, shown: Shown) -> None:
    """The API answers 503 for a minute under some two thousand requests a second."""
    stack.settings |= {"breaker": "20/50", "backoff_base_s": 0.5, "backoff_cap_s": 60}
    stack.api.start()
    for _ in range(2):
        stack.worker()
    stack.wait_ready()
    stack.api.outage(503)
    before, began, sent = stack.api.total["calls"], time.monotonic(), 0
    batch_ids = []
    while time.monotonic() - began < 60:
        batch_ids.append(stack.client.stop_many(_requests(500, f"{sent}-")).batch_id)
        sent += 500
        time.sleep(max(0.0, began + sent / 2_000 - time.monotonic()))
    calls = stack.api.total["calls"] - before
    found = f"{calls:,} calls for {sent:,} requests, {calls / sent:.2%}"
    shown.add("calls meanwhile: 2 % at most", found, is_right=calls <= 0.02 * sent)
    stack.api.outage(None)
    back = time.monotonic()
    wait_until(lambda: stack.client.gate.look().cause is None, limit_s=60)
    took = time.monotonic() - back
    shown.add("it goes on within 5 s", f"{took:.1f} s", is_right=took <= 5)
    for batch_id in batch_ids:
        _finish(stack, batch_id)
    outcomes: Counter[str] = Counter()
    for batch_id in batch_ids:
        outcomes.update(stack.client.batch(batch_id).outcomes)
    stopped = outcomes[OutcomeKind.STOPPED]
    shown.add("no attempt burned: all stopped", f"{stopped:,}", is_right=stopped == sent)


def one_rate(stack: Stack, shown: Shown) -> None:
    """Four workers keep 200 a second for a minute, with all lanes under load."""
    rate, burst, seconds = 200, 40, 60
    stack.settings |= {"rate_limit": f"{rate}/s,burst={burst}"}
    stack.api.start()
    for _ in range(4):
        stack.worker()
    stack.wait_ready()
    time.sleep(2)
    first = len(stack.api.times)
    batch_id = _send(stack, rate * (seconds + 5))
    began = time.time()
    time.sleep(seconds)
    times = sorted(at for at in stack.api.times[first:] if at <= began + seconds)
    most, start = 0, 0
    for end, at in enumerate(times):
        while times[start] <= at - 1:
            start += 1
        most = max(most, end - start + 1)
    used = len(times) / (rate * seconds)
    shown.add(
        f"calls in any second: {rate} + {burst} at most", f"{most}", is_right=most <= rate + burst
    )
    shown.add("at least 95 % of the rate used", f"{used:.1%}", is_right=used >= 0.95)
    _finish(stack, batch_id)


def policy_wild(stack: Stack, shown: Shown) -> None:
    """A rule that matches ten thousand targets within a second or so."""
    rules = stack.directory / "rules.yaml"
    rules.write_text(
        "rules:\n  - name: wild\n    when: event.type == 'x'\n"
        "    stop: {user_id: event.data.u, task_id: event.data.t}\n"
    )
    stack.api.start()
    stack.worker()
    gateway = stack.gateway(variables={"STOPLINE_POLICY_FILE": str(rules)})
    client = stack.client
    limit = GuardLimit(requests=200, window_s=60)
    client.guards.apply([Guard(source="policy:*", limit=limit)])
    known = {"specversion": "1.0", "source": "/s", "type": "x"}
    events = [{**known, "id": str(n), "data": {"u": "u", "t": f"t{n}"}} for n in range(10_000)]
    began = time.monotonic()
    for first in range(0, len(events), 1_000):
        body = orjson.dumps(events[first : first + 1_000])
        stack.post(f"{gateway.url}/v1/events", body, "application/cloudevents-batch+json")
    took = time.monotonic() - began
    shown.add("10,000 events through /v1/events", f"in {took:.1f} s", is_right=True)
    wait_until(lambda: stack.api.total["targets"] >= 200)
    time.sleep(3)
    called, (view,) = stack.api.total["targets"], client.guards.look().views
    found = f"{called} called, {view.held:,} held"
    shown.add("200 called, 9,800 held", found, is_right=(called, view.held) == (200, 9_800))
    trips = sum(one.action == "guard_trip" for one in client.audit_trail())
    shown.add("one alert", f"{trips}", is_right=trips == 1)
    held = [one.task_id for one in client.guards.held("policy:*")]
    own = client.stop("u", held[0], source="ops")
    outcome = client.wait(own.request_id, 30).outcome
    shown.add("a person's stop of a held target", str(outcome), is_right=outcome == "stopped")
    client.resumed("u", held[1])
    stack.run("held", "release", "--guard", "policy:*", "--yes")
    wait_until(lambda: stack.api.total["targets"] == 9_999, limit_s=_LIMIT_S)
    calls = len(stack.api.calls(f"u/{held[1]}"))
    shown.add("released: the rest, but what was resumed", f"{calls} calls", is_right=calls == 0)


def rules_speed(stack: Stack, shown: Shown) -> None:
    """Events through five rules, in one process."""
    policies = Path(__file__).parents[2] / "deploy" / "policies"
    book = read_rules(policies / "policy.yaml")
    lines = (policies / "events.jsonl").read_bytes().splitlines()
    events = [event_of(orjson.loads(line)["event"]) for line in lines]
    now = stack.client.now()
    count = 40_000
    began = time.process_time()
    for number in range(count):
        book.decide(events[number % len(events)], arrived_at=now)
    rate = count / (time.process_time() - began)
    shown.add("10,000 events a second", f"{rate:,.0f} on one core", is_right=rate >= 10_000)


SHOWS: Final[tuple[Callable[[Stack, Shown], None], ...]] = (
    rules_speed,
    policy_wild,
    one_rate,
    api_away,
    token_expired,
)


def main() -> None:
    """Every show, on a server and workers of its own."""
    shown = Shown()
    wanted = set(sys.argv[1:])
    for show in SHOWS:
        if wanted and show.__name__ not in wanted:
            continue
        with tempfile.TemporaryDirectory() as directory:
            server = Valkey(Path(directory) / "redis").start()
            try:
                with Stack(Path(directory), server.url) as stack:
                    show(stack, shown)
            finally:
                server.kill()
    table = Table("asked", "found", "")
    for asked, found, is_right in shown.rows:
        table.add_row(asked, found, "" if is_right else "WRONG")
    Console().print(table)
    sys.exit(any(not is_right for *_, is_right in shown.rows))


if __name__ == "__main__":
    main()
