"""Writes finished attempts to the ledger, many in one call, for as long as their leases last."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stopline.contract import MESSAGE_IDS_MAX
from stopline.errors import UnavailableError
from stopline.ledger import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline.ledger.values import Policy, Promotion, Settlement
    from stopline_worker.ports import Records

_log = logging.getLogger(__name__)
_RETRY_S = 0.25
LOST = "lost"


@dataclass(slots=True)
class _Pending:
    settlement: Settlement
    lease_ended: Callable[[], bool]
    word: asyncio.Future[str]


class Settler:
    """Gathers settlements while one call is under way and sends them with the next.

    So the size of a call follows the load: one settlement when idle, hundreds when busy.
    """

    def __init__(
        self,
        ledger: Records,
        policy: Policy,
        on_promoted: Callable[[tuple[Promotion, ...]], None],
    ) -> None:
        self._ledger = ledger
        self._policy = policy
        self._on_promoted = on_promoted
        self._pending: list[_Pending] = []
        self._wake = asyncio.Event()
        self._away = False

    async def settle(self, settlement: Settlement, lease_ended: Callable[[], bool]) -> str:
        """Settle one attempt.

        Returns:
            The ledger's word for it; `lost` when its lease ended first: another worker may then
            call for the request again.
        """
        word: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(settlement, lease_ended, word))
        self._wake.set()
        return await word

    async def run(self) -> None:
        """Send what is pending, for ever; cancel it when nothing is to come."""
        while True:
            await self._wake.wait()
            batch, self._pending = (
                self._pending[:MESSAGE_IDS_MAX],
                self._pending[MESSAGE_IDS_MAX:],
            )
            if not self._pending:
                self._wake.clear()
            await self._send(batch)

    async def _send(self, batch: list[_Pending]) -> None:
        command = commands.settle(self._policy, [one.settlement for one in batch])
        try:
            settled = await self._ledger.run(command)
        except UnavailableError as error:
            await self._keep(batch, error)
            return
        except Exception:  # noqa: BLE001  # a fault of ours: logged by whom it concerns
            await self._send_singly(batch)
            return
        self._away = False
        for one, word in zip(batch, settled.words, strict=True):
            _resolve(one, word)
        self._on_promoted(settled.promoted)

    async def _send_singly(self, batch: list[_Pending]) -> None:
        """Find the settlement that the ledger chokes on, so that it spoils no other."""
        if len(batch) > 1:
            for one in batch:
                await self._send([one])
        else:
            _log.exception("attempt cannot be settled", extra={"action": "settle_failed"})
            _resolve(batch[0], LOST)

    async def _keep(self, batch: list[_Pending], error: Exception) -> None:
        if not self._away:  # once, not four times a second
            _log.warning(
                "ledger away, settling again: %s", error, extra={"action": "settle_failed"}
            )
        self._away = True
        await asyncio.sleep(_RETRY_S)
        for one in batch:
            if one.lease_ended():
                _resolve(one, LOST)
            else:
                self._pending.append(one)
        if self._pending:
            self._wake.set()


def _resolve(pending: _Pending, word: str) -> None:
    if not pending.word.done():
        pending.word.set_result(word)
