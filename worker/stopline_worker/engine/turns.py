"""An engine's claims and settlements, one call to the ledger at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from stopline.ledger.values import Command
    from stopline_worker.engine.ports import Records

T = TypeVar("T")


class OneAtATime:
    """A ledger that is asked for the next thing when it has answered the one before.

    The server works on one at a time anyway. So an urgent call of somebody else waits behind one
    call of each engine, not behind all that it would like to ask; and an engine is no slower.
    """

    def __init__(self, ledger: Records) -> None:
        self._ledger = ledger
        self._turn = asyncio.Lock()

    async def run(self, command: Command[T]) -> T:
        """Run one command when it has its turn; raises as the ledger does."""
        async with self._turn:
            return await self._ledger.run(command)
