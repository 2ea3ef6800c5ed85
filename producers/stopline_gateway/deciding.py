"""Events: what each asks for, and doing it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from stopline.errors import InvalidRequestError
from stopline_events.decisions import Fired, Ignored, Resume, Ruled, Stop
from stopline_gateway.problems import Problem

if TYPE_CHECKING:
    from stopline.contract import Receipt
    from stopline_events.cloud_events import Event
    from stopline_events.decisions import Decision
    from stopline_gateway.access import Caller
    from stopline_gateway.services import Services


class Decided(NamedTuple):
    """An event of a batch and what it asks for; or what is wrong with it."""

    event: Event | None
    decision: Decision | Problem


def decide(services: Services, event: Event, caller: Caller) -> Decided:
    """What an event asks for, in the name of who sent it."""
    try:
        decision = services.policy.decide(event, speak_for=caller.speak_for)
        if isinstance(decision, Stop):
            decision = Stop(caller.own(decision.request))
        elif isinstance(decision, Ruled):
            decision = decision._replace(fired=tuple(_own(one, caller) for one in decision.fired))
        return Decided(event, decision)
    except InvalidRequestError as error:
        return Decided(event, Problem.of(error))
    except Problem as problem:
        return Decided(event, problem)


class Result(NamedTuple):
    """What became of an event."""

    event: Event | None
    status: str
    receipt: Receipt | None = None
    problem: Problem | None = None
    at: datetime | None = None
    """When it says that it happened."""
    rules: tuple[dict[str, Any], ...] | None = None
    """What became of each rule that fired or failed."""

    def document(self) -> dict[str, Any]:
        """As `EventResult`."""
        event = self.event
        receipt = None if self.receipt is None else self.receipt.to_json()
        problem = None if self.problem is None else self.problem.document()
        return {
            "id": event and event.id,
            "source": event and event.source,
            "status": self.status,
            "receipt": receipt,
            "time": "event" if self._has_happened() else "arrival",
            "problem": problem,
            **({} if self.rules is None else {"rules": self.rules}),
        }

    def _has_happened(self) -> bool:
        """Whether its own time counts: one that is still to come, as clocks differ, does not."""
        return self.at is not None and self.at <= datetime.now(UTC)


def _own(fired: Fired, caller: Caller) -> Fired:
    """With a key that is the caller's own: nobody can take that of another's event."""
    if not isinstance(fired.action, Stop):
        return fired
    return fired._replace(action=Stop(caller.own(fired.action.request)))


async def do(services: Services, caller: Caller, decided: Decided) -> Result:
    """Do what an event asks for; a ledger that is away fails the whole call, to be repeated."""
    event = decided.event
    try:
        match decided.decision:
            case Problem() as problem:
                return Result(event, "refused", problem=problem)
            case Ignored():
                await services.client.count("events_ignored")
                return Result(event, "ignored")
            case Ruled() as ruled:
                return await _do_rules(services, caller, event, ruled)
            case Resume(target, at):
                await services.client.resumed(*target, at=at, actor=caller.actor)
                return Result(event, "resumed", at=at)
            case Stop(request):
                receipt = await services.client.stop_request(request, actor=caller.actor)
                return Result(event, "accepted", receipt, at=request.issued_at)
    except InvalidRequestError as error:
        return Result(event, "refused", problem=Problem.of(error))


async def _do_rules(
    services: Services, caller: Caller, event: Event | None, ruled: Ruled
) -> Result:
    """Do what the rules say, in their order."""
    told: list[dict[str, Any]] = [
        {"rule": one.rule, "status": "failed", "reason": one.reason} for one in ruled.failed
    ]
    for fired in ruled.fired:
        try:
            match fired.action:
                case Stop(request):
                    receipt = await services.client.stop_request(request, actor=caller.actor)
                    done = {"status": "accepted", "receipt": receipt.to_json()}
                case Resume(target, at):
                    await services.client.resumed(*target, at=at, actor=caller.actor)
                    done = {"status": "resumed"}
        except InvalidRequestError as error:
            done = {"status": "refused", "reason": str(error)}
        told.append({"rule": fired.rule, **done})
    status = "ruled" if ruled.fired else "failed"
    return Result(event, status, at=event.time if event else None, rules=tuple(told))
