"""The limits that the ledger's scripts work by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stopline.contract import Rate

_SECOND: Final = 1_000_000
_LATE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class GateLimits:
    """When calls wait, for all workers of a ledger; the scripts' part is `_gate.lua`."""

    credential_hold: bool = True
    """Whether a refused token stops calls until it is accepted."""
    hold_max_s: float = 300
    """The longest `Retry-After` that all keep; 0: only the request does that it was said to."""
    probe_s: float = 2
    """From one probe of a shut gate to the next."""
    breaker: tuple[int, int] | None = None
    """So many failed calls of so many last ones shut it; None: they do not."""
    rate: Rate | None = None
    """Calls of all workers; None: any number."""
    calls_a_grant: int = 1
    """Calls that one attempt may make: reading the state back is one, too."""
    concurrent: int | None = None
    """Calls of all workers at a time; None: any number."""
    adaptive: bool = False
    """Whether fewer at a time are made while the API shows that it is too much."""
    retry_budget: bool = False
    """Whether retries are bounded by a share of first calls, and ten a second."""
    emergency_share: float = 0.2
    """Of rate and calls at a time, what other lanes leave to the emergency lane."""

    def to_options(self) -> dict[str, int]:
        """Options for scripts; what is off is left out."""
        found = {"probe_us": round(self.probe_s * _SECOND)}
        if self.credential_hold:
            found["credential_hold"] = 1
        if self.hold_max_s:
            found["hold_max_us"] = round(self.hold_max_s * _SECOND)
        if self.breaker is not None:
            found["breaker_failed"], found["breaker_of"] = self.breaker
        if self.retry_budget:
            found["retry_budget"] = 1
        if self.rate is not None:
            found["rate_us"] = max(1, math.ceil(_SECOND * self.calls_a_grant / self.rate.per_s))
            # A call may come a little later than another that was granted after it.
            late = min(self.rate.burst // 2, math.ceil(self.rate.per_s * _LATE_S))
            burst = max(1, (self.rate.burst - late) // self.calls_a_grant)
            found["rate_burst"], found["rate_reserve"] = burst, self._reserve(burst)
        if self.concurrent is not None:
            found["concurrent"] = self.concurrent
            found["concurrent_reserve"] = self._reserve(self.concurrent)
            if self.adaptive:
                found["adaptive"] = 1
        return found

    def _reserve(self, of: int) -> int:
        """What is left to the emergency lane: one at least, where there is more than one."""
        if not self.emergency_share:
            return 0
        return min(of - 1, max(1, round(of * self.emergency_share)))


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the scripts work by, all in seconds or counts."""

    deadline_s: float = 7200
    lease_s: float = 30
    look_again_s: float = 5
    attempts_max: int = 8
    """Of attempts whose replies spoke of the request and settled nothing."""
    upstream_failures_max: int | None = None
    """Of attempts that failed by the upstream's fault; None: as many as fit before the deadline."""
    claims_lost_max: int = 3
    suspect_wait_s: float = 0.25
    heartbeat_ttl_s: int = 120
    durable: bool = False
    queues_here: bool = False
    """Whether the lanes' queues are in the ledger's own database."""
    outcomes_max: int | None = None
    """How many of the last outcomes are kept as a stream; None: no stream."""
    counts: bool = False
    """Whether what happens is counted: of all clients and workers of a ledger, or of none."""
    recent_max: int | None = None
    """How many of the last outcomes are listed; None: no list."""
    gate: GateLimits | None = None
    """What keeps calls off an API that cannot take them; None: nothing does."""
    audit_max: int = 100_000
    """How many of the last changes are kept in the audit trail."""
    result_ttl_s: int = 7 * 86400
    dead_letter_ttl_s: int = 14 * 86400
    idempotency_ttl_s: int = 86400

    def to_options(self) -> dict[str, int]:
        """The options that every script may read, times in the unit that their names say."""
        rare = {"durable": 1} if self.durable else {}
        if self.upstream_failures_max is not None:
            rare["upstream_failures_max"] = self.upstream_failures_max
        if self.outcomes_max is not None:
            rare["outcomes_max"] = self.outcomes_max
        if self.counts:
            rare["counts"] = 1
        if self.recent_max is not None:
            rare["recent_max"] = self.recent_max
        if self.gate is not None:
            rare |= self.gate.to_options()
        return rare | {
            "deadline_us": round(self.deadline_s * _SECOND),
            "lease_us": round(self.lease_s * _SECOND),
            "look_again_us": round(self.look_again_s * _SECOND),
            "attempts_max": self.attempts_max,
            "claims_lost_max": self.claims_lost_max,
            "suspect_wait_us": round(self.suspect_wait_s * _SECOND),
            "result_ttl_s": self.result_ttl_s,
            "dead_letter_ttl_s": self.dead_letter_ttl_s,
            "heartbeat_ttl_s": self.heartbeat_ttl_s,
            "idempotency_ttl_s": self.idempotency_ttl_s,
        }
