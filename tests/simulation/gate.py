"""The gate in the simulation: which limits a run has, and what must hold at each grant.

(h) calls keep the rate and the number at a time, others leave the emergency lane its share; nothing
    is granted in a paused lane, or while the API asked for no calls; of a shut gate there is one
    probe at a time; and no request ends by failures that were the gate's business.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from stopline.contract import Lane, Rate
from stopline.ledger import layouts
from stopline.ledger.limits import GateLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECOND = 1_000_000


def gate_limits(seed: int) -> GateLimits:
    """The gate of a run: each part of it in about half of the runs."""
    random = Random(f"gate {seed}")

    def maybe(value: object) -> object:
        return value if random.random() < 0.5 else None

    breaker = maybe((random.randint(2, 4), random.randint(4, 8)))
    rate = maybe(Rate(random.choice([2, 5, 20]), random.choice([1, 2, 5])))
    concurrent = maybe(random.randint(1, 5))
    return GateLimits(
        credential_hold=random.random() < 0.8,
        hold_max_s=random.choice([0.0, 0.5, 5.0]),
        probe_s=random.choice([0.2, 1.0, 2.0]),
        breaker=breaker,  # type: ignore[arg-type]  # or None
        rate=rate,  # type: ignore[arg-type]
        concurrent=concurrent,  # type: ignore[arg-type]
        adaptive=concurrent is not None and random.random() < 0.5,
        retry_budget=random.random() < 0.3,
    )


class GateChecks:
    """Looks at each grant, with the gate as it was before; says what is wrong."""

    def __init__(self, limits: GateLimits) -> None:
        self._limits = limits
        self._options = limits.to_options()
        self._rate_due = 0
        self._granted: set[str] = set()
        self._before: dict[str, str] = {}

    def saw(self, raw: bytes | None) -> None:
        """The gate after a step: what the next one finds."""
        self._before = layouts.GATE.parse(raw) if raw else {}

    def granted(
        self,
        grant: tuple[str, str, Lane],
        ledger_us: int,
        calling: Mapping[str, Mapping[str, str]],
    ) -> str | None:
        """What is wrong with a grant: its request, token and lane; `calling` hold valid leases."""
        request_id, token, lane = grant
        if token in self._granted:
            return None  # told again: its first reply was lost
        self._granted.add(token)
        return (
            self._while_closed(lane, ledger_us)
            or self._while_shut(request_id, calling)
            or self._beyond_rate(lane, ledger_us)
            or self._too_many(lane, calling)
        )

    def _while_closed(self, lane: Lane, ledger_us: int) -> str | None:
        if int(self._before.get("hold_until") or 0) > ledger_us:
            return "granted while the API asked for no calls"
        for one in filter(None, self._before.get("paused", "").split(",")):
            name, until = one.split("=")
            if name == lane and int(until) > ledger_us:
                return f"granted in the paused lane {lane}"
        return None

    def _while_shut(self, request_id: str, calling: Mapping[str, Mapping[str, str]]) -> str | None:
        if not self._before.get("cause"):
            return None
        since = int(self._before["since"])
        probes = [
            one
            for one, record in calling.items()
            if one != request_id and int(record["began_at"]) > since
        ]
        return f"granted beside the probe {probes}" if probes else None

    def _beyond_rate(self, lane: Lane, ledger_us: int) -> str | None:
        if self._limits.rate is None:
            return None
        interval, burst = self._options["rate_us"], self._options["rate_burst"]
        reserve = 0 if lane is Lane.EMERGENCY else self._options.get("rate_reserve", 0)
        self._rate_due = max(self._rate_due, ledger_us) + interval
        if self._rate_due - ledger_us > (burst - reserve) * interval:
            return f"granted beyond the rate of lane {lane}"
        return None

    def _too_many(self, lane: Lane, calling: Mapping[str, Mapping[str, str]]) -> str | None:
        if self._limits.concurrent is None:
            return None
        reserve = 0 if lane is Lane.EMERGENCY else self._options.get("concurrent_reserve", 0)
        room = self._limits.concurrent - reserve
        return (
            f"{len(calling)} calls at a time, {room} are allowed" if len(calling) > room else None
        )
