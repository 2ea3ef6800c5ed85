"""Batches line by line: `client.batches`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client import verbs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from stopline.client.verbs import BatchPage, BatchPlace, Verb
    from stopline.client.views import AsyncTake, Take
    from stopline.contract import BatchLine

    ReadPage = Callable[[str, BatchPlace], Verb[BatchPage]]


class BatchReports:
    """What became of batches, by a `StopClient`."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def report(self, batch_id: str) -> Iterator[BatchLine]:
        """Every line of a batch in its order, with its outcome, or its state until there is one.

        It is read some hundred lines at a time, so what ends meanwhile may be there with its
        outcome and a line before it without. Lines that were refused are in no batch. Requests
        that were sent one by one have no place, and come last.

        Raises:
            UnknownRequestError: there is no such batch (any more).
        """
        for page in self._pages(batch_id, verbs.batch_page):
            yield from page

    def undo(self, batch_id: str) -> Iterator[BatchLine]:
        """The lines whose targets this batch really stopped: what to resume if it was a mistake.

        By a call of its own that succeeded, for a request of this batch, and not resumed since: not
        what it joined, what was stopped already (`stopped_before`, `satisfied_by`), what did not
        end as `stopped`, and what was sent again from the dead letters. A target is there once.

        Raises:
            UnknownRequestError: there is no such batch (any more).
        """
        once = _Once()
        for page in self._pages(batch_id, verbs.undo_page):
            yield from once.of(page)

    def _pages(self, batch_id: str, read: ReadPage) -> Iterator[Sequence[BatchLine]]:
        place = self._take(verbs.batch_place(batch_id))
        while place is not None:
            lines, place = self._take(read(batch_id, place))
            yield lines


class AsyncBatchReports:
    """The same for an `AsyncStopClient`."""

    def __init__(self, take: AsyncTake) -> None:
        self._take = take

    async def report(self, batch_id: str) -> AsyncIterator[BatchLine]:
        """As `BatchReports.report`."""
        async for page in self.report_pages(batch_id):
            for line in page:
                yield line

    async def undo(self, batch_id: str) -> AsyncIterator[BatchLine]:
        """As `BatchReports.undo`."""
        async for page in self.undo_pages(batch_id):
            for line in page:
                yield line

    def report_pages(self, batch_id: str) -> AsyncIterator[Sequence[BatchLine]]:
        """The same as it is read, some lines at a time."""
        return self._pages(batch_id, verbs.batch_page)

    async def undo_pages(self, batch_id: str) -> AsyncIterator[Sequence[BatchLine]]:
        """The same as it is read, some lines at a time, or none."""
        once = _Once()
        async for page in self._pages(batch_id, verbs.undo_page):
            yield once.of(page)

    async def _pages(self, batch_id: str, read: ReadPage) -> AsyncIterator[Sequence[BatchLine]]:
        place = await self._take(verbs.batch_place(batch_id))
        while place is not None:
            lines, place = await self._take(read(batch_id, place))
            yield lines


class _Once:
    """Passes each target once; remembers 64 bits of each, since a batch may have millions."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def of(self, lines: Sequence[BatchLine]) -> list[BatchLine]:
        """Those whose targets were not there before."""
        fresh = []
        for line in lines:
            known = hash(line.stopped_target)
            if known not in self._seen:
                self._seen.add(known)
                fresh.append(line)
        return fresh
