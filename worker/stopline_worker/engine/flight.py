"""A request in an engine's hands, from its claim to its settlement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stopline.ledger.values import Released, Settlement

if TYPE_CHECKING:
    import asyncio

    from stopline.ledger.values import Grant


@dataclass(slots=True, eq=False)
class Flight:
    """A claimed request from its claim to its settlement.

    Attributes:
        grant: the right to make this attempt.
        lease_end_us: when the lease ends, by the ledger's clock; renewing moves it.
        since: when it was claimed, and then when its call began, by the monotonic clock.
        has_slot: it takes up room for a claim.
        calling: its call is on the wire, and may be taken off it.
        interrupted: the engine drains and does not wait for this call any longer.
        lost: somebody else may be calling by now, so nothing is settled.
    """

    grant: Grant
    lease_end_us: int
    since: float
    has_slot: bool = True
    calling: bool = False
    interrupted: bool = False
    lost: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def abandon(self) -> None:
        """Take the call off the wire; what is already being settled goes on."""
        if self.task is not None and self.calling:
            self.task.cancel()

    def release(self) -> Settlement:
        """How it is settled where its call did not begin: others may take the request at once."""
        return Released(self.grant.request_id, self.grant.token)
