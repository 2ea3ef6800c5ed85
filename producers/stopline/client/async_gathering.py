"""Requests of many coroutines, accepted together: a call costs more than a request."""

from __future__ import annotations

import asyncio
import copy
import os
from typing import TYPE_CHECKING, Final

from stopline.contract import REQUESTS_A_CALL, Refusal
from stopline.errors import StoplineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stopline.contract import Receipt
    from stopline.ledger.commands import Replies
    from stopline.ledger.values import Submission

_AT_ONCE: Final = 3
"""Of two hundred coroutines, some make requests while the ledger works on those of others: with one
call for all of them, the two would take turns."""


_Waiting = tuple["Submission", "asyncio.Future[Receipt]"]


class AsyncGathering:
    """Requests that come while a call is under way wait for the next, together.

    One that comes alone waits for nobody.

    Args:
        submit: has the ledger accept some requests.
    """

    def __init__(self, submit: Callable[[Sequence[Submission]], Awaitable[Replies]]) -> None:
        self._submit = submit
        self.pid = os.getpid()
        """Whose it is: after a fork, another process has an event loop of its own."""
        self._waiting: list[_Waiting] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._calling = 0

    async def stop(self, submission: Submission) -> Receipt:
        """Accept one request; raises as the ledger does."""
        found: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, found))
        if self._calling < _AT_ONCE:
            self._calling += 1
            call = asyncio.create_task(self._accept_waiting())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return await found

    async def _accept_waiting(self) -> None:
        try:
            while self._waiting:
                some = self._waiting[:REQUESTS_A_CALL]
                del self._waiting[:REQUESTS_A_CALL]
                await self._accept(some)
        finally:  # at once after the look at what waits: who comes now makes a call
            self._calling -= 1

    async def _accept(self, some: list[_Waiting]) -> None:
        try:
            replies = await self._submit([submission for submission, _ in some])
        except StoplineError as error:
            for _, found in some:
                _tell(found, copy.copy(error))
        except Exception as error:  # noqa: BLE001  # one of them is at fault, and gets it alone
            if len(some) == 1:
                _tell(some[0][1], error)
                return
            for one in some:
                await self._accept([one])
        except BaseException:  # the loop ends
            for _, found in some:
                found.cancel()
            raise
        else:
            for (_, found), reply in zip(some, replies, strict=True):
                _tell(found, reply.as_error() if isinstance(reply, Refusal) else reply.receipt)

    async def close(self) -> None:
        """Let what is under way finish."""
        await asyncio.gather(*self._calls, return_exceptions=True)


def _tell(found: asyncio.Future[Receipt], result: Receipt | Exception) -> None:
    if found.done():  # whoever waited for it was cancelled
        return
    if isinstance(result, Exception):
        found.set_exception(result)
    else:
        found.set_result(result)
