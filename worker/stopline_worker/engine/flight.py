"""A request in an engine's hands, from its claim to its settlement."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from stopline.ledger.values import Released

if TYPE_CHECKING:
    import asyncio

    from stopline.ledger.values import Grant
    from stopline_worker.engine.clock import LedgerClock


class Phase(Enum):
    """How far a flight has come.

    READY ── CALLING ── SETTLING
      └────────┴─ INTERRUPTED, LOST
    """

    READY = "ready"
    """Claimed; its call has not begun."""
    CALLING = "calling"
    """Its call is on the wire, and may be given up."""
    INTERRUPTED = "interrupted"
    """The engine does not wait for its call any longer."""
    LOST = "lost"
    """Somebody else may be calling by now: nothing is settled."""
    SETTLING = "settling"
    """Its attempt is over, and the ledger is to know."""


@dataclass(slots=True, eq=False)
class Flight:
    """A claimed request.

    Attributes:
        grant: the right to make this attempt.
        lease_end_us: when the lease ends, by the ledger's clock; renewing moves it.
        since: when it was claimed, and then when its call began, by the monotonic clock.
        phase: how far it has come.
        has_slot: it takes up room for a claim.
        caller: the task that makes its call; None before that.
    """

    grant: Grant
    lease_end_us: int
    since: float
    phase: Phase = Phase.READY
    has_slot: bool = True
    caller: asyncio.Task[None] | None = field(default=None, repr=False)

    def lease_ended(self, clock: LedgerClock) -> bool:
        """Whether somebody else may have the request by now."""
        return self.phase is Phase.LOST or clock.now_us() >= self.lease_end_us

    def interrupt(self) -> None:
        """Wait for its call no longer, or do not begin it; what is being settled goes on."""
        self._give_up(Phase.INTERRUPTED)

    def lose(self) -> None:
        """The same where its lease is lost."""
        self._give_up(Phase.LOST)

    def _give_up(self, phase: Phase) -> None:
        before = self.phase
        if before in _BEFORE_ITS_END:
            self.phase = phase
        if before is Phase.CALLING and self.caller is not None:
            self.caller.cancel()

    def released(self) -> Released:
        """How it is settled where its call did not begin: others may take the request at once."""
        return Released(self.grant.request_id, self.grant.token)


_BEFORE_ITS_END = frozenset({Phase.READY, Phase.CALLING})
