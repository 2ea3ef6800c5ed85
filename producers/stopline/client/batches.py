"""Batches line by line: `client.batches`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client import verbs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from stopline.client.views import AsyncTake, Take
    from stopline.contract import BatchLine, Target


class BatchReports:
    """What became of batches, by a `StopClient`."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def report(self, batch_id: str) -> Iterator[BatchLine]:
        """Every line of a batch in its order, with its outcome, or its state until there is one.

        It is read a hundred lines at a time, so what ends meanwhile may be there with its outcome
        and a line before it without. Lines that were refused are in no batch.

        Raises:
            UnknownRequestError: there is no such batch (any more).
        """
        for chunk in self._take(verbs.batch_chunks(batch_id)):
            yield from self._take(verbs.batch_lines(batch_id, chunk))

    def undo(self, batch_id: str) -> Iterator[BatchLine]:
        """The lines whose targets this batch really stopped: what to resume if it was a mistake.

        By a call of its own that succeeded, for a request of this batch, and not resumed since: not
        what it joined, what others had stopped before, what failed, and what was sent again from
        the dead letters. A target is there once.

        Raises:
            UnknownRequestError: there is no such batch (any more).
        """
        seen: set[Target | None] = set()
        for chunk in self._take(verbs.batch_chunks(batch_id)):
            for line in self._take(verbs.stopped_lines(batch_id, chunk)):
                if line.stopped_target not in seen:
                    seen.add(line.stopped_target)
                    yield line


class AsyncBatchReports:
    """The same for an `AsyncStopClient`."""

    def __init__(self, take: AsyncTake) -> None:
        self._take = take

    async def report(self, batch_id: str) -> AsyncIterator[BatchLine]:
        """As `BatchReports.report`."""
        for chunk in await self._take(verbs.batch_chunks(batch_id)):
            for line in await self._take(verbs.batch_lines(batch_id, chunk)):
                yield line

    async def undo(self, batch_id: str) -> AsyncIterator[BatchLine]:
        """As `BatchReports.undo`."""
        seen: set[Target | None] = set()
        for chunk in await self._take(verbs.batch_chunks(batch_id)):
            for line in await self._take(verbs.stopped_lines(batch_id, chunk)):
                if line.stopped_target not in seen:
                    seen.add(line.stopped_target)
                    yield line
