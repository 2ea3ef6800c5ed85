"""What must hold after every step of a run, whatever happened.

(a) each accepted request has exactly one terminal outcome, or is open;
(b) `stopped` only if a successful call began at or after the wish was issued;
(c) open if and only if in `due`;
(d) never two calls in flight for one target under valid leases, and no call begins without one;
(e) no attempt is granted for a wish that was issued before its target was resumed;
(f) in the stream of outcomes each stands once, as it is under its id;
(g) the counters say what is there, and the list of the last that ended has each once;
(h) what goes through the gate: see `gate.py`;
(i) what guards keep back: see `guards.py`;
(j) what paused batches keep back: see `pauses.py`;
and when all is over, nothing stays in Redis without a time to live.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from stopline.contract import Lane, Outcome, OutcomeKind, ReceiptKind, Refusal, parse_counts
from stopline.ledger import batches, keys, layouts, queries
from stopline.ledger.limits import GateLimits
from tests.simulation.batches import wrong_report
from tests.simulation.gate import GateChecks
from tests.simulation.guards import GuardChecks
from tests.simulation.pauses import PauseChecks
from tests.simulation.world import START_US

if TYPE_CHECKING:
    from stopline.contract import Guard
    from stopline.ledger.commands import Replies
    from stopline.ledger.limits import Limits
    from stopline.ledger.values import Claimed, Command, Grant
    from tests.simulation.ledger import LedgerServer
    from tests.simulation.upstream import Call, Upstream
    from tests.simulation.world import World

_NEW = {
    ReceiptKind.ACCEPTED,
    ReceiptKind.JOINED,
    ReceiptKind.SATISFIED,
    ReceiptKind.SUPERSEDED,
    ReceiptKind.HELD,
}
_ITEM_FIELDS = 12
"""Lines of one request in `accept`: see ITEM_FIELDS in `_accept.lua`."""


class BrokenError(AssertionError):
    """An invariant does not hold; `letter` names it."""

    def __init__(self, letter: str, what: str) -> None:
        super().__init__(letter, what)  # as they are: it is sent between processes
        self.letter = letter
        self.what = what

    def __str__(self) -> str:
        return f"({self.letter}) {self.what}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody was promised."""

    request_id: str
    target: str
    issued_us: int


class Invariants:
    """Looks at the ledger after every script."""

    def __init__(
        self,
        world: World,
        server: LedgerServer,
        upstream: Upstream,
        limits: Limits,
        guards: tuple[Guard, ...] = (),
    ) -> None:
        self._world = world
        self._server = server
        self._client = server.client
        self._upstream = upstream
        upstream.on_begin = self._check_call
        self.wishes: dict[str, list[Wish]] = {}
        self.outcomes: dict[str, bytes] = {}
        self._aliases: dict[str, None] = {}
        self._resumed: dict[str, int] = {}
        self._began: dict[str, int] = {}
        self._leases: dict[tuple[str, str], tuple[str, str]] = {}
        self._open: dict[str, dict[str, str]] = {}
        self._failures_max = limits.upstream_failures_max
        self._gate = GateChecks(limits.gate or GateLimits())
        self._guards = GuardChecks(guards)
        self._pauses = PauseChecks()
        self._held = False

    def kind_of(self, request_id: str) -> OutcomeKind | None:
        """The outcome of a request, if it has one."""
        raw = self.outcomes.get(request_id)
        outcome = queries.parse_result(raw) if raw else None
        return outcome.outcome if outcome else None

    @property
    def all_terminal(self) -> bool:
        """Whether no request is open."""
        return not self._open

    # --- after every step -----------------------------------------------------------------------

    def ran(
        self, actor: str, command: Command[Any], reply: Any, true_us: int, ledger_us: int
    ) -> None:
        """Learn what a command changed, then look at all of it."""
        match command.name:
            case "accept":
                self._learn_wishes(actor, command.arguments[1:], reply, true_us, skip=0)
                self._check_guards(command.arguments[1:], reply, ledger_us)
            case "redrive":
                self._learn_wishes(actor, command.arguments[1:], reply, true_us, skip=1)
            case "claim" | "claim_due":
                self._learn_grants(actor, reply, ledger_us)
            case "resume":
                target = str(command.arguments[1])
                self._resumed[target] = ledger_us
                self._world.tell(actor, f"resumes {target}: {reply[0]}")
            case "pause_batch":
                self._world.tell(actor, self._pauses.steered(command.arguments, reply))
            case "reset_guard":
                self._guards.reset()
                self._world.tell(actor, "resets the guard")
            case "release" | "settle" | "cancel" | "renew" | "pause_lane":
                shown = [str(one)[:24] for one in command.arguments[1:]]
                words = getattr(reply, "words", None) or getattr(reply, "kept", reply)
                self._world.tell(actor, f"{command.name} {shown}: {words}")
        before = self._open
        self._look(ledger_us)
        if command.name.startswith("claim"):
            self._must_not(self._guards.after_claim(before, self._open, ledger_us))

    @staticmethod
    def _must_not(wrong: str | None) -> None:
        if wrong:
            raise BrokenError("i", wrong)

    def _check_guards(self, items: tuple[Any, ...], replies: Replies, ledger_us: int) -> None:
        for text, reply in zip(items, replies, strict=True):
            is_new = (
                not isinstance(reply, Refusal) and reply.receipt.receipt is ReceiptKind.ACCEPTED
            )
            # What came after its time has ended at once.
            if is_new and self._client.exists(keys.record(reply.receipt.request_id)):
                wish = text.split("\n", _ITEM_FIELDS - 1)[6]
                self._must_not(self._guards.accepted(wish, ledger_us))

    def _learn_wishes(
        self,
        actor: str,
        fields: tuple[Any, ...],
        replies: Replies,
        true_us: int,
        *,
        skip: int,
    ) -> None:
        items = fields[skip :: 1 + skip]
        for text, reply in zip(items, replies, strict=True):
            item = text.split("\n", _ITEM_FIELDS - 1)
            own_id, target, issued, alias = item[0], item[1], item[4], item[10]
            if isinstance(reply, Refusal):
                self._world.tell(actor, f"asks {own_id} for {target}: {reply.kind}")
                continue
            kind, followed = reply.receipt.receipt, reply.receipt.request_id
            self._world.tell(actor, f"asks {own_id} for {target}: {kind}, follow {followed}")
            wishes = self.wishes.setdefault(followed, [])
            if reply.receipt.receipt in _NEW:
                issued_us = min(int(issued), true_us) if issued else true_us
                wishes.append(Wish(followed, target, issued_us))
            if kind in _NEW or item[8]:
                self._pauses.asked(followed, item[8])
            if alias:
                self._aliases[own_id] = None

    def _learn_grants(self, actor: str, claimed: Claimed, ledger_us: int) -> None:
        for grant in claimed.grants:
            self._world.tell(
                actor, f"is granted attempt {grant.attempt} of {grant.request_id} ({grant.target})"
            )
            record = layouts.RECORD.parse(self._record(grant.request_id))
            self._leases[actor, str(grant.target)] = (grant.request_id, grant.token)
            self._began[grant.request_id] = int(record["began_at"])
            resumed_us = self._resumed.get(record["target_digest"], 0)
            if resumed_us >= int(record["wish_at"]) and int(record["began_at"]) > resumed_us:
                raise BrokenError("e", f"{grant.request_id} was granted after a resume")
            is_known = self._open.get(grant.request_id, {}).get("token") == grant.token
            if not is_known and (wrong := self._pauses.granted(grant.request_id)):
                raise BrokenError("j", wrong)
            self._check_gate(grant, Lane(record["lane"]), claimed, ledger_us)

    def _check_gate(self, grant: Grant, lane: Lane, claimed: Claimed, ledger_us: int) -> None:
        """The records are those of before the claim: what was calling then, and what it granted."""
        at = [one.request_id for one in claimed.grants].index(grant.request_id)
        calling = {
            request_id: record
            for request_id, record in self._open.items()
            if record["state"] == "calling" and int(record["due_at"]) > ledger_us
        }
        calling |= {
            one.request_id: layouts.RECORD.parse(self._record(one.request_id))
            for one in claimed.grants[: at + 1]
        }
        wrong = self._gate.granted((grant.request_id, grant.token, lane), ledger_us, calling)
        if wrong:
            raise BrokenError("h", f"{grant.request_id}: {wrong}")

    def _record(self, request_id: str) -> bytes:
        raw: Any = self._client.get(keys.record(request_id))
        if raw is None:
            raise BrokenError("a", f"{request_id} was granted and has no record")
        return bytes(raw)

    def _check_call(self, call: Call, froze: bool) -> None:
        if froze:
            return  # it stood still between its check and its call: no program can help that
        if call.process.heard_at < self._world.jumped_at:
            return  # the ledger's time jumped, and it could not know yet
        request_id, token = self._leases[call.process.name, call.target]
        record = self._open.get(request_id, {})
        valid = record.get("token") == token and int(record["due_at"]) > call.began_ledger_us
        if not valid:
            raise BrokenError("d", f"{call.process.name} calls for {request_id} without a lease")

    # --- the whole state ------------------------------------------------------------------------

    def _look(self, ledger_us: int) -> None:
        ids = [*self.wishes, *self._aliases]
        names = [name for one in ids for name in (keys.result(one), keys.record(one))]
        (gate, *raw), due = self._server.look([keys.GATE, *names])
        self._gate.saw(gate)
        found = dict(zip(ids, zip(raw[::2], raw[1::2], strict=True), strict=True))
        self._open = {}
        for request_id, (result, record) in found.items():
            if request_id in self.wishes:
                self._check_one(request_id, result, record)
            elif result is None and record is None:
                raise BrokenError("a", f"the alias {request_id} is lost")
        self._check_due(Counter(one.decode() for one in due))
        self._check_leases(ledger_us)
        self._check_counters()
        there = {one for one, record in self._open.items() if record["state"] == "held"}
        if there or self._held:
            indexed = {one.decode() for one in self._client.zrange(keys.HELD + "wi*", 0, -1)}
            self._must_not(self._guards.held(indexed, there))
        self._held = bool(there)

    def _check_one(self, request_id: str, result: bytes | None, record: bytes | None) -> None:
        if result is None and record is None:
            raise BrokenError("a", f"{request_id} is lost: no record, no outcome")
        if result is not None and record is not None:
            raise BrokenError("a", f"{request_id} has an outcome and is open")
        if request_id in self.outcomes and result != self.outcomes[request_id]:
            raise BrokenError("a", f"the outcome of {request_id} changed")
        if record is not None:
            self._open[request_id] = layouts.RECORD.parse(record)
        elif result is not None and request_id not in self.outcomes:
            self.outcomes[request_id] = result
            self._check_outcome(request_id, result)

    def _check_outcome(self, request_id: str, raw: bytes) -> None:
        outcome = queries.parse_result(raw)
        if outcome is None:
            raise BrokenError("a", f"{request_id} has a result that is no outcome")
        self._world.tell("ledger", f"{request_id} ends {outcome.outcome}")
        self._world.counts[f"outcome {outcome.outcome}"] += 1
        self._check_exhausted(outcome)
        if outcome.outcome is not OutcomeKind.STOPPED:
            return
        for wish in self.wishes[request_id]:
            began = self._upstream.successes[wish.target]
            if not any(one >= wish.issued_us for one in began):
                raise BrokenError(
                    "b",
                    f"{request_id} is stopped, but no successful call began after "
                    f"{(wish.issued_us - START_US) / 1_000_000:.6f}",
                )

    def _check_exhausted(self, outcome: Outcome) -> None:
        if outcome.outcome is not OutcomeKind.EXHAUSTED or "failed" not in outcome.detail:
            return
        own = [one for one in outcome.attempts if one.http_status not in {401, 403}]
        if len(own) < (self._failures_max or 0):
            raise BrokenError("h", f"{outcome.request_id} is exhausted by refusals of the token")

    def _check_due(self, due: Counter[str]) -> None:
        if due != Counter(list(self._open)):
            raise BrokenError("c", f"due: {sorted(due)}; open: {sorted(self._open)}")

    def _check_leases(self, ledger_us: int) -> None:
        calling = Counter(
            record["target"]
            for record in self._open.values()
            if record["state"] == "calling" and int(record["due_at"]) > ledger_us
        )
        for target, count in calling.items():
            if count > 1:
                raise BrokenError("d", f"{count} leases for {target}")

    def _check_counters(self) -> None:
        places = (f"open:{one['lane']}:{one['state']}" for one in self._open.values())
        self._compare(keys.COUNTS, Counter(places), "open:")
        seconds = (
            f"{one['lane']}:{int(one['accepted_at']) // 1_000_000}" for one in self._open.values()
        )
        self._compare(keys.AGES, Counter(seconds))

    def _compare(self, name: str, there: Counter[str], prefix: str = "") -> None:
        said = {key.decode(): int(value) for key, value in self._server.hash(name).items()}
        counted = Counter({key: value for key, value in said.items() if key.startswith(prefix)})
        if any(counted[one] != there[one] for one in {*counted, *there}):
            raise BrokenError("g", f"{name} says {dict(counted)}, there are {dict(there)}")

    # --- when all is over -----------------------------------------------------------------------

    def check_end(self) -> None:
        """Nobody waits for an outcome, and nothing is left behind once times to live are over."""
        if self._open:
            raise BrokenError("a", f"stuck: {sorted(self._open)}")
        self._check_stream()
        self._check_ends()
        for alias in self._aliases:
            if not self._client.exists(keys.result(alias)):
                raise BrokenError("a", f"the alias {alias} has no outcome")
        for name in self._client.scan_iter():
            stays = (keys.COUNTS, keys.AUDIT, keys.GUARDS, keys.GUARD + "wi*")
            if self._client.ttl(name) < 0 and name.decode() not in stays:
                raise BrokenError("memory", f"{name!r} stays for ever")

    def _check_stream(self) -> None:
        streamed: Counter[str] = Counter()
        for _, fields in self._client.xrange(keys.OUTCOMES):
            outcome = Outcome.model_validate(orjson.loads(fields[b"outcome"]))
            streamed[outcome.request_id] += 1
            raw = self.outcomes.get(outcome.request_id)
            if raw is None or queries.parse_result(raw) != outcome:
                raise BrokenError("f", f"{outcome.request_id} is another outcome in the stream")
        if streamed != Counter(list(self.outcomes)):
            raise BrokenError("f", "some outcome is not once in the stream")

    def _check_ends(self) -> None:
        ended = [one for raw in self.outcomes.values() if (one := queries.parse_result(raw))]
        kinds = Counter(f"outcome:{one.lane}:{one.outcome}" for one in ended)
        self._compare(keys.COUNTS, kinds, "outcome:")
        said = parse_counts(
            {name.decode(): int(value) for name, value in self._server.hash(keys.COUNTS).items()}
        )
        stopped = sum(
            one.outcome == OutcomeKind.STOPPED and not one.satisfied_by and not one.held_by
            for one in ended
        )
        if sum(one.total for one in said.stops.values()) != stopped:
            raise BrokenError("g", f"{stopped} were stopped by calls of their own, {said.stops}")
        recent = [one.decode() for one in self._client.lrange(keys.RECENT, 0, -1)]
        if Counter(recent) != Counter(list(self.outcomes)):
            raise BrokenError("g", "some outcome is not once among the last")

    def check_batch(self, batch_id: str) -> None:
        """A batch counts each of its wishes once, and its report has each with its outcome."""
        command = batches.batch(batch_id)
        batch = command.parse(self._client.execute_command(command.name, *command.arguments))
        if batch is None:
            return  # its producer was refused before anything was accepted
        if batch.pending or sum(batch.outcomes.values()) != batch.total or not batch.finished_at:
            raise BrokenError("a", f"the batch {batch_id} counts wrongly: {batch}")
        outcomes = [one for raw in self.outcomes.values() if (one := queries.parse_result(raw))]
        wrong = wrong_report(
            lambda one: self._server.run(one, 0), batch, outcomes, self._began, self._resumed
        )
        if wrong is not None:
            raise BrokenError("a", f"the batch {batch_id}: {wrong}")
