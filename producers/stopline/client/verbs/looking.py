"""Looking at what there is: requests, batches, workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopline.client.verbs.calling_back import count_callbacks
from stopline.client.verbs.sinking import view_sinks
from stopline.client.verbs.steps import Verb, await_outcome, run
from stopline.contract import Batch, Callbacks, Gate, Guards, Heartbeat, Outcome, Sinks, Status
from stopline.errors import UnknownRequestError
from stopline.health import Around
from stopline.ledger import batches, commands, gates, queries
from stopline.ledger import guards as ledger_guards

if TYPE_CHECKING:
    from datetime import datetime

    from stopline.ledger.limits import Limits


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Heartbeats, the ledger's time to compare them with, and what else a deployment waits for."""

    now: datetime
    processes: tuple[Heartbeat, ...]
    gate: Gate
    guards: Guards
    sinks: Sinks
    callbacks: Callbacks

    @property
    def around(self) -> Around:
        """The same, as `stopline.health.examine` takes it."""
        return Around(self.gate, self.guards, self.sinks, self.callbacks)


def status(request_id: str) -> Verb[Status]:
    """The outcome or the state of a request, also by an id that follows another request."""
    found = yield from run(queries.status(request_id))
    if isinstance(found, queries.Alias):
        found = yield from run(queries.status(found.request_id))
    if found is None or isinstance(found, queries.Alias):
        raise UnknownRequestError(
            f"The ledger knows no request {request_id}: the id is wrong, or its outcome is older "
            "than STOPLINE_RESULT_TTL_S."
        )
    return found


def outcome(request_id: str) -> Verb[Outcome | None]:
    """The outcome, or None while there is none."""
    found = yield from run(queries.outcome(request_id))
    return found


def wait(request_id: str, timeout_s: float | None) -> Verb[Outcome | None]:
    """The outcome as soon as it is there, or None when the time is over.

    Of a request that the ledger does not know there will be none, so that is an error at once.
    """
    found = yield from await_outcome(request_id, timeout_s)
    if found is not None:
        return found
    known = yield from status(request_id)
    return known if isinstance(known, Outcome) else None


def batch(batch_id: str) -> Verb[Batch]:
    """Progress and report of a batch."""
    found = yield from run(batches.batch(batch_id))
    if found is None:
        raise UnknownRequestError(
            f"The ledger knows no batch {batch_id}: the id is wrong, or the batch is older than "
            "STOPLINE_RESULT_TTL_S."
        )
    return found


def heartbeats(limits: Limits) -> Verb[Heartbeats]:
    """Every worker process that was heard of lately, and the ledger's time."""
    ids = yield from run(queries.process_ids())
    found = (yield from run(queries.heartbeats(ids))) if ids else ()
    gate = yield from run(gates.gate(limits))
    guards = yield from run(ledger_guards.guards(limits))
    sinks = yield from view_sinks(limits)
    callbacks = yield from count_callbacks(limits)
    return Heartbeats(gate.at, found, gate, guards, sinks, callbacks)


def now(limits: Limits) -> Verb[int]:
    """The ledger's time, in microseconds."""
    clock = yield from run(commands.read_clock(limits))
    return clock.now
