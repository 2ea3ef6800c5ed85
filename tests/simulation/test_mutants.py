"""The simulation finds each of these deliberate faults, by the invariant that it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from stopline.ledger import scripts
from stopline_worker.engine import attempt
from stopline_worker.engine.engine import Engine
from stopline_worker.engine.flight import Flight
from stopline_worker.upstream.reply import NoReply, Reply
from stopline_worker.upstream.verdict import Judgement, judge
from tests.simulation.invariants import BrokenError
from tests.simulation.ledger import LedgerServer
from tests.simulation.run import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

_SEEDS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of the scripts' text, wherever it stands."""

    name: str
    letter: str
    """The invariant that it breaks, or those of which it breaks one or the other first."""
    original: str
    broken: str

    def __call__(self, _name: str, text: str) -> str:
        return text.replace(self.pattern, scripts.with_keys(self.broken))

    @property
    def pattern(self) -> str:
        """What is replaced, as it stands in a script."""
        return scripts.with_keys(self.original)


SCRIPTS = [
    Mutant(
        "an outcome is not written",
        "a",
        "  write_result(request.id, rest, ttl_s)\n",
        "",
    ),
    Mutant(
        "an ended request stays open",
        "a",
        "  redis.call('DEL', RECORD .. request.id)\n",
        "",
    ),
    Mutant(
        "an alias is forgotten",
        "a",
        "  request.aliases = request.aliases and request.aliases .. ',' .. item.id or item.id\n",
        "",
    ),
    Mutant(
        "a batch counts a joined wish once",
        "a",
        "whole(wishes + 1)",
        "whole(wishes)",
    ),
    Mutant(
        "a late settle is taken",
        "bd",
        "request.token ~= token or not call_in_flight(request)",
        "request.state ~= 'calling'",
    ),
    Mutant(
        "a success counts from its end",
        "b",
        "target.succeeded_at, target.succeeded_by = request.began_at, request.id",
        "target.succeeded_at, target.succeeded_by = now, request.id",
    ),
    Mutant(
        "whoever comes joins the call in flight",
        "b",
        "return active.began_at >= item.issued_at end",
        "return true end",
    ),
    Mutant(
        "the next one is always satisfied",
        "b",
        "outcome == 'stopped' and request.began_at >= following.wish_at",
        "outcome == 'stopped'",
    ),
    Mutant(
        "a retry is not due",
        "c",
        "  set_due(request, at)\n  save_record(request)\n  return 'waiting'",
        "  redis.call('ZREM', DUE .. request.lane, request.id)\n  save_record(request)\n"
        "  return 'waiting'",
    ),
    Mutant(
        "a lane's change leaves the old entry",
        "c",
        "  redis.call('ZREM', DUE .. request.lane, request.id)\n  request.lane = lane\n",
        "  request.lane = lane\n",
    ),
    Mutant(
        "what is in flight is granted again",
        "d",
        "  if call_in_flight(request) then return end\n",
        "",
    ),
    Mutant(
        "the next one is granted beside the active one",
        "d",
        "if not is_active(request, target) then return wait_for_active(request, target) end",
        "",
    ),
    Mutant(
        "a resume is not looked at",
        "e",
        "  elseif target.resumed_at and target.resumed_at >= request.wish_at then\n"
        "    return 'superseded', SUPERSEDED\n",
        "",
    ),
    Mutant(
        "the clock goes back with the server's",
        "abdeg",  # a: what is due by the clock of before waits for the hour to come again
        "now = math.max(server_now, (tonumber(given) or 0) + math.max(1, math.ceil(passed / 2)))",
        "now = server_now",
    ),
    Mutant(
        "a target is kept for ever",
        "memory",
        "redis.call('SET', TARGET .. target.digest, value, 'EX', options.result_ttl_s)",
        "redis.call('SET', TARGET .. target.digest, value)",
    ),
    Mutant(
        "an outcome at once is not in the stream",
        "f",
        "  stream(document)\n",
        "  if request.token then stream(document) end\n",
    ),
    Mutant(
        "the index of dead letters is kept for ever",
        "memory",
        "  redis.call('EXPIRE', DEAD, options.dead_letter_ttl_s)\n",
        "",
    ),
    Mutant(
        "what changes its state is not counted",
        "g",
        "  if options.counts then move(request, request.lane, request.state) end\n",
        "",
    ),
    Mutant(
        "an ended request is counted on",
        "g",
        "  if options.counts then move(request) end\n",
        "",
    ),
    Mutant(
        "a second is forgotten with the first request of it that ends",
        "g",
        "  if left <= 0 then\n",
        "  if by < 0 then\n",
    ),
    Mutant(
        "who is satisfied by another counts as a stop",
        "g",
        "if outcome ~= 'stopped' or satisfied_by or request.held_for then return end",
        "if outcome ~= 'stopped' or request.held_for then return end",
    ),
    Mutant(
        "the last that ended are not listed",
        "g",
        "  if options.recent_max then ended[#ended + 1] = request.id end\n",
        "",
    ),
    Mutant(
        "a paused lane is called for",
        "h",
        "math.max(paused_until(lane), gate.hold_until or 0)",
        "gate.hold_until or 0",
    ),
    Mutant(
        "nobody keeps Retry-After",
        "h",
        "math.max(paused_until(lane), gate.hold_until or 0)",
        "paused_until(lane)",
    ),
    Mutant(
        "one probe follows the other at once",
        "h",
        "if gate.probe and gate.probe_ends > now then",
        "if false then",
    ),
    Mutant(
        "a shut gate stands open",
        "h",
        "  if gate.cause then\n    if gate.probe",
        "  if false then\n    if gate.probe",
    ),
    Mutant(
        "calls use up half of what they cost",
        "h",
        "math.max(gate.rate_due or 0, now) + options.rate_us",
        "math.max(gate.rate_due or 0, now) + math.floor(options.rate_us / 2)",
    ),
    Mutant(
        "the emergency lane has no turns of its own",
        "h",
        "lane == 'emergency' and 0 or options.rate_reserve",
        "0",
    ),
    Mutant(
        "the emergency lane has no places of its own",
        "h",
        "lane == 'emergency' and 0 or math.min(options.concurrent_reserve, limit - 1)",
        "0",
    ),
    Mutant(
        "who is called for takes no place",
        "h",
        "    redis.call('ZADD', CALLING, whole(request.due_at), request.id)\n",
        "",
    ),
    Mutant(
        "what is held is taken for the active one",
        "memory",
        "  if request.state == 'held' then return consider_held(request) end\n",
        "",
    ),
    Mutant(
        "a guard counts every second one",
        "i",
        "  redis.call('LPUSH', key, whole(now))\n",
        "  if now % 2 == 0 then redis.call('LPUSH', key, whole(now)) end\n",
    ),
    Mutant(
        "those that waited for the canary count for nothing",
        "i",
        "  if not limit_has_room(guard) then return 'later' end\n",
        "",
    ),
    Mutant(
        "what ends is held on",
        "i",
        "    leave_hold(request)\n  elseif",
        "  elseif",
    ),
    Mutant(
        "a refused token uses requests up",
        "h",
        "busy = 'failed'}",
        "busy = 'failed', refused = 'failed'}",
    ),
    Mutant(
        "a paused batch is called for",
        "j",
        "  elseif is_paused(request) then\n    park(request)\n",
        "",
    ),
    Mutant(
        "one paused batch is enough where two ask",
        "j",
        "    all = all and paused[batch_id]\n",
        "    all = false\n",
    ),
    Mutant(
        "what waits for its turn is kept for ever",
        "memory",
        "  keep(key, whole(seconds))\n  local batch_id",
        "  local batch_id",
    ),
    Mutant(
        "a batch is said to have stopped what others had",
        "a",
        "    request.stopped_before = target.succeeded_by\n",
        "",
    ),
    Mutant(
        "what was resumed counts as stopped before",
        "a",
        "target.resumed_at >= target.succeeded_at)",
        "target.resumed_at < target.succeeded_at)",
    ),
]


def _first_failure(server: LedgerServer) -> BaseException | None:
    for seed in range(1, _SEEDS_MAX + 1):
        broken = simulate(seed, server).broken
        if broken is not None:
            return broken
    return None


@pytest.mark.parametrize("mutant", SCRIPTS, ids=lambda mutant: mutant.name)
def test_a_broken_script_is_found(mutant: Mutant) -> None:
    texts = [scripts.source(name) for name in ("accept", "claim", "claim_due", "settle", "resume")]
    assert any(mutant.pattern in text for text in texts)
    broken = _first_failure(LedgerServer(mutate=mutant))
    assert isinstance(broken, BrokenError)
    assert broken.letter in {mutant.letter, *mutant.letter}


def _never_looks_at_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flight, "lease_ended", lambda *_: False)


def _takes_no_reply_for_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def gullible(_result: Reply | NoReply, _redact: object) -> Judgement:
        return judge(Reply(200, b'{"status":"success","code":200}'))

    monkeypatch.setattr(attempt, "judge", gullible)


def _never_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    async def idle(engine: Engine) -> float:
        engine._look_now.clear()  # else it would look again and again in no time
        return 1.0

    monkeypatch.setattr(Engine, "_sweep", idle)


@pytest.mark.parametrize(
    ("break_it", "letter"),
    [(_never_looks_at_its_lease, "d"), (_takes_no_reply_for_success, "b"), (_never_sweeps, "a")],
)
def test_a_broken_step_of_the_engine_is_found(
    break_it: Callable[[pytest.MonkeyPatch], None], letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    broken = _first_failure(LedgerServer())
    assert isinstance(broken, BrokenError)
    assert broken.letter == letter
