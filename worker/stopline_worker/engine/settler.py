"""Writes finished attempts to the ledger, many in one call, for as long as their leases last."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopline.contract import REQUESTS_A_CALL
from stopline.errors import UnavailableError
from stopline.ledger import commands
from stopline.ledger.values import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline.ledger.limits import Limits
    from stopline.ledger.values import Promotion, Settlement
    from stopline_worker.engine.ports import Records

_log = logging.getLogger(__name__)
_RETRY_S = 0.25
_LINGER_S = 0.002
"""How long a busy settler waits for more: a call to the ledger costs as much as twenty attempts."""


@dataclass(slots=True)
class _Pending:
    settlement: Settlement
    lease_ended: Callable[[], bool]
    done: Callable[[Answer], None]


class Settler:
    """Gathers settlements while one call is under way and sends them with the next.

    So the size of a call follows the load: one settlement when idle, hundreds when busy. Attempts
    do not wait for it, so a call's slot is free as soon as the call is over.
    """

    def __init__(
        self,
        ledger: Records,
        limits: Limits,
        on_promoted: Callable[[tuple[Promotion, ...]], None],
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._on_promoted = on_promoted
        self._pending: list[_Pending] = []
        self._sending = 0
        self._wake = asyncio.Event()
        self._away = False

    @property
    def backlog(self) -> int:
        """How many settlements the ledger does not have yet."""
        return len(self._pending) + self._sending

    def settle(
        self,
        settlement: Settlement,
        lease_ended: Callable[[], bool],
        done: Callable[[Answer], None],
    ) -> None:
        """Settle one attempt.

        Args:
            settlement: how it ended.
            lease_ended: whether its lease has ended.
            done: called with the ledger's answer; LOST when its lease ended first: another
                worker may then call for the request again.
        """
        self._pending.append(_Pending(settlement, lease_ended, done))
        self._wake.set()

    async def run(self) -> None:
        """Send what is pending, for ever; cancel it when nothing is to come."""
        busy = False
        while True:
            await self._wake.wait()
            if busy:
                await asyncio.sleep(_LINGER_S)
            batch, self._pending = (
                self._pending[:REQUESTS_A_CALL],
                self._pending[REQUESTS_A_CALL:],
            )
            if not self._pending:
                self._wake.clear()
            self._sending = len(batch)
            try:
                await self._send(batch)
            except Exception:  # noqa: BLE001  # a fault of ours must not keep the others from settling
                _log.exception("settling failed", extra={"action": "settle_failed"})
            self._sending, busy = 0, len(batch) > 1

    async def _send(self, batch: list[_Pending]) -> None:
        command = commands.settle(self._limits, [one.settlement for one in batch])
        try:
            settled = await self._ledger.run(command)
        except UnavailableError as error:
            await self._keep(batch, error)
            return
        except Exception:  # noqa: BLE001  # a fault of ours: logged by whom it concerns
            await self._send_singly(batch)
            return
        self._away = False
        for one, answer in zip(batch, settled.answers, strict=True):
            one.done(answer)
        self._on_promoted(settled.promoted)

    async def _send_singly(self, batch: list[_Pending]) -> None:
        """Find the settlement that the ledger chokes on, so that it spoils no other."""
        if len(batch) > 1:
            for one in batch:
                await self._send([one])
        else:
            _log.exception("attempt cannot be settled", extra={"action": "settle_failed"})
            batch[0].done(Answer.LOST)

    async def _keep(self, batch: list[_Pending], error: Exception) -> None:
        if not self._away:  # once, not four times a second
            _log.warning(
                "ledger away, settling again: %s", error, extra={"action": "settle_failed"}
            )
        self._away = True
        await asyncio.sleep(_RETRY_S)
        for one in batch:
            if one.lease_ended():
                one.done(Answer.LOST)
            else:
                self._pending.append(one)
        if self._pending:
            self._wake.set()
