"""The leases of calls in flight: renewed, and calls given up whose lease is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from stopline.contract import MESSAGE_IDS_MAX
from stopline.ledger import commands
from stopline_worker.engine.flight import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits
    from stopline_worker.engine.calls import Calls
    from stopline_worker.engine.clock import LedgerClock
    from stopline_worker.engine.flight import Flight
    from stopline_worker.engine.ports import Records

_log = logging.getLogger(__name__)
_RENEWALS_A_LEASE: Final = 3


class Leases:
    """Renews the leases of an engine's flights."""

    def __init__(self, ledger: Records, limits: Limits, calls: Calls, clock: LedgerClock) -> None:
        self._ledger = ledger
        self._limits = limits
        self._calls = calls
        self._clock = clock

    async def renew_for_ever(self) -> None:
        """Renew them three times as often as they would end."""
        while True:
            await asyncio.sleep(self._limits.lease_s / _RENEWALS_A_LEASE)
            try:
                await self._renew()
            except Exception as error:  # noqa: BLE001  # the leases decide; the loop goes on
                _log.warning("leases not renewed: %s", error, extra={"action": "renew_failed"})

    async def _renew(self) -> None:
        self._interrupt_stuck()
        flights = list(self._calls)
        for first in range(0, len(flights), MESSAGE_IDS_MAX):
            await self._renew_some(flights[first : first + MESSAGE_IDS_MAX])

    async def _renew_some(self, flights: Sequence[Flight]) -> None:
        started = self._clock.monotonic()
        leases = [(one.grant.request_id, one.grant.token) for one in flights]
        renewed = await self._ledger.run(commands.renew(self._limits, leases))
        self._clock.observe(renewed.now, started)
        lease_end_us = renewed.now + round(self._limits.lease_s * 1_000_000)
        for flight, kept in zip(flights, renewed.kept, strict=True):
            if kept:
                flight.lease_end_us = lease_end_us
            elif flight in self._calls:
                self._lose(flight)

    def _interrupt_stuck(self) -> None:
        """End calls that their own timeout, which is shorter than a lease, did not end."""
        limit = self._clock.monotonic() - self._limits.lease_s
        for flight in self._calls:
            if flight.phase is Phase.CALLING and flight.since < limit:
                flight.interrupt()
                _log.error(
                    "call stuck, interrupted",
                    extra={"action": "call_stuck", "request_id": flight.grant.request_id},
                )

    def _lose(self, flight: Flight) -> None:
        flight.lose()
        if flight.phase is Phase.LOST:  # else it is being settled, and learns it then
            _log.warning(
                "lease lost, call abandoned",
                extra={"action": "lease_lost", "request_id": flight.grant.request_id},
            )
