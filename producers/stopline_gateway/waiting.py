"""Who waits here for an outcome, and how they are told to come back when this process ends."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stopline.errors import OutcomeTimeoutError
from stopline_gateway.problems import Kind, Problem, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from stopline import AsyncStopClient
    from stopline.contract import Outcome

WAIT_S_MAX = 60


class Waiting:
    """The calls of one process that wait, and its streams.

    Args:
        client: whose one subscription serves them all.
        waiters_max: how many may wait.
        streams_max: how many streams there may be.
    """

    def __init__(self, client: AsyncStopClient, *, waiters_max: int, streams_max: int) -> None:
        self._client = client
        self._waiters_max = waiters_max
        self._streams_max = streams_max
        self._waiters = 0
        self._streams = 0
        self._ends: set[asyncio.Future[None]] = set()
        self.is_closing = False
        """This process is about to end: who waits or streams is let go."""

    def close(self) -> None:
        """Let all go who wait or stream."""
        self.is_closing = True
        for end in self._ends:
            if not end.done():
                end.set_result(None)

    @contextmanager
    def end(self) -> Iterator[asyncio.Future[None]]:
        """What is done when this process is about to end."""
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.is_closing:
            end.set_result(None)
        self._ends.add(end)
        try:
            yield end
        finally:
            self._ends.discard(end)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place to wait, taken before anything is accepted; raises `Problem` if all are taken."""
        if self._waiters >= self._waiters_max:
            detail = "Ask without wait_s, and look at the outcome later."
            raise Problem(Kind.BUSY, detail, headers=retry_after(1))
        self._waiters += 1
        try:
            yield
        finally:
            self._waiters -= 1

    async def outcome(self, request: Request, request_id: str, wait_s: float) -> Outcome | None:
        """The outcome of a request, or None when the time is over, or nobody is there any more.

        For who has a `place`. Raises as `AsyncStopClient.wait`.
        """
        outcome = asyncio.create_task(self._client.wait(request_id, wait_s))
        leaves = asyncio.create_task(_leaves(request))
        try:
            with self.end() as end:
                await first_of(outcome, leaves, end)
            return outcome.result() if outcome.done() else None
        except OutcomeTimeoutError:
            return None
        finally:
            outcome.cancel()
            leaves.cancel()
            await asyncio.gather(outcome, leaves, return_exceptions=True)

    def check_room_for_stream(self) -> None:
        """Refuse a stream where there are too many, or none is to begin; raises `Problem`."""
        if self.is_closing:
            raise Problem(Kind.CLOSING, "Connect again.", headers=retry_after(1))
        if self._streams >= self._streams_max:
            raise Problem(Kind.BUSY, "Too many streams are open here.", headers=retry_after(1))

    @contextmanager
    def stream(self) -> Iterator[asyncio.Future[None]]:
        """A stream, as long as it lasts; what is done when this process is about to end."""
        self._streams += 1
        try:
            with self.end() as end:
                yield end
        finally:
            self._streams -= 1


async def _leaves(request: Request) -> None:
    """Returns when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def first_of(*futures: asyncio.Future[Any]) -> None:
    """Wait until one of these is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
