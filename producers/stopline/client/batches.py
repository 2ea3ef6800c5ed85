"""Batches as a whole and line by line: `client.batches`, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client import verbs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence

    from stopline.client.verbs import BatchPage, BatchPlace, Verb
    from stopline.client.views import AsyncTake, Take
    from stopline.contract import Actor, Batch, BatchHead, BatchLine, OutcomeKind, Receipt
    from stopline.ledger.commands import Replies
    from stopline.ledger.limits import Limits
    from stopline.ledger.values import Submission

    ReadPage = Callable[[str, BatchPlace], Verb[BatchPage]]


class Batches:
    """Batches, by a `StopClient`."""

    def __init__(self, limits: Limits, take: Take) -> None:
        self._limits = limits
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

    def open(self, batch_id: str, head: BatchHead) -> str | None:
        """Say what a batch is, best before its first request; what was said before stays.

        Returns:
            The source that it is of, where somebody said one.

        Raises:
            InvalidRequestError: a name or the reason cannot be meant.
        """
        return self._take(verbs.open_batch(self._limits, batch_id, head))

    def pause(self, batch_id: str, *, reason: str, by: str, actor: Actor | None = None) -> Batch:
        """Let the requests of a batch wait, those that are still to come too.

        Calls that are under way finish. A request that somebody else asked for, too, goes on. They
        expire, are cancelled and superseded as ever; meanwhile they hold no worker.

        Raises:
            UnknownRequestError: there is no such batch (any more).
            InvalidRequestError: the reason or the name cannot be meant.
        """
        return self._take(verbs.pause_batch(self._limits, batch_id, reason, by, actor))

    def resume(self, batch_id: str, *, actor: Actor | None = None) -> Batch:
        """Let a paused batch go on; one that is not paused does so anyway.

        Raises:
            UnknownRequestError: there is no such batch (any more).
        """
        return self._take(verbs.resume_batch(self._limits, batch_id, actor))

    def redrive(
        self,
        batch_id: str,
        *,
        by: str,
        outcomes: Collection[OutcomeKind] = (),
        reason: str | None = None,
        actor: Actor | None = None,
    ) -> dict[str, Receipt]:
        """Send again what of a batch ended as a dead letter, each as a new request of `by`.

        Args:
            batch_id: which.
            by: who does it.
            outcomes: only what ended so; empty: every kind of dead letter.
            reason: only where the outcome's detail has this text, in any case of letters.
            actor: for the audit trail.

        Returns:
            The receipt of each new request by the id of the one before.

        Raises:
            UnknownRequestError: there is no such batch (any more).
            InvalidRequestError: an outcome is none of a dead letter.
            LedgerFullError: Redis is close to its maxmemory.
        """
        verb = verbs.redrive_batch(
            self._limits, batch_id, by, outcomes=outcomes, reason=reason, actor=actor
        )
        return self._take(verb)

    def rehearsal(self) -> verbs.Rehearsal:
        """A new rehearsal of a batch: see `rehearse`."""
        return verbs.Rehearsal(self._limits)

    def rehearse(self, rehearsal: verbs.Rehearsal, submissions: Sequence[Submission]) -> Replies:
        """Learn what sending some requests would come to now; nothing is sent.

        Args:
            rehearsal: the same for all pieces of a batch, in their order: `rehearsal()`.
            submissions: the next ones, at most `REQUESTS_A_CALL`.
        """
        return self._take(rehearsal.learn(submissions))

    def _pages(self, batch_id: str, read: ReadPage) -> Iterator[Sequence[BatchLine]]:
        place = self._take(verbs.batch_place(batch_id))
        while place is not None:
            lines, place = self._take(read(batch_id, place))
            yield lines


class AsyncBatches:
    """The same for an `AsyncStopClient`."""

    def __init__(self, limits: Limits, take: AsyncTake) -> None:
        self._limits = limits
        self._take = take

    async def report(self, batch_id: str) -> AsyncIterator[BatchLine]:
        """As `Batches.report`."""
        async for page in self.report_pages(batch_id):
            for line in page:
                yield line

    async def undo(self, batch_id: str) -> AsyncIterator[BatchLine]:
        """As `Batches.undo`."""
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

    async def open(self, batch_id: str, head: BatchHead) -> str | None:
        """As `Batches.open`."""
        return await self._take(verbs.open_batch(self._limits, batch_id, head))

    async def pause(
        self, batch_id: str, *, reason: str, by: str, actor: Actor | None = None
    ) -> Batch:
        """As `Batches.pause`."""
        return await self._take(verbs.pause_batch(self._limits, batch_id, reason, by, actor))

    async def resume(self, batch_id: str, *, actor: Actor | None = None) -> Batch:
        """As `Batches.resume`."""
        return await self._take(verbs.resume_batch(self._limits, batch_id, actor))

    async def redrive(
        self,
        batch_id: str,
        *,
        by: str,
        outcomes: Collection[OutcomeKind] = (),
        reason: str | None = None,
        actor: Actor | None = None,
    ) -> dict[str, Receipt]:
        """As `Batches.redrive`."""
        verb = verbs.redrive_batch(
            self._limits, batch_id, by, outcomes=outcomes, reason=reason, actor=actor
        )
        return await self._take(verb)

    def rehearsal(self) -> verbs.Rehearsal:
        """As `Batches.rehearsal`."""
        return verbs.Rehearsal(self._limits)

    async def rehearse(
        self, rehearsal: verbs.Rehearsal, submissions: Sequence[Submission]
    ) -> Replies:
        """As `Batches.rehearse`."""
        return await self._take(rehearsal.learn(submissions))

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
