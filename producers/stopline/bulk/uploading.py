"""Sending a batch while it still comes in: line by line, so that memory does not grow with it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from stopline.bulk.lines import Line, LineError
from stopline.contract import REQUESTS_A_CALL, RefusalKind
from stopline.errors import InvalidRequestError
from stopline.ledger.values import Accepted, Submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from stopline.bulk.reading import BatchReader
    from stopline.client.async_client import AsyncStopClient
    from stopline.contract import BatchHead, ReceiptKind
    from stopline.ledger.commands import Replies

SHOWN_MAX: Final = 100
"""Refused lines that the reply names."""
_SENT_TOGETHER: Final = 4 * REQUESTS_A_CALL
_UNDER_WAY_MAX: Final = 3
"""With one, the ledger would be idle while lines are read."""
_PIECE: Final = 8 << 10
_TURN: Final = 16
"""Lines that are read before others have their turn: they take half a millisecond."""


class Upload:
    """Reads a batch and sends it; counts what became of its lines.

    Args:
        client: what accepts them.
        reader: reads them.
        source: whom all lines must speak for; None: anybody.
        own_key: the idempotency key that a line's own stands for.
        head: what the batch is, written down before its first line is sent.
        dry_run: learn what would become of the lines, and send nothing.
    """

    def __init__(
        self,
        client: AsyncStopClient,
        reader: BatchReader,
        source: str | None,
        own_key: Callable[[str], str] = lambda key: key,
        *,
        head: BatchHead | None = None,
        dry_run: bool = False,
    ) -> None:
        self._head = head
        self._own_key = own_key
        self._client = client
        self._reader = reader
        self._source = source
        self._rehearsal = client.batches.rehearsal() if dry_run else None
        self._sending: deque[asyncio.Task[None]] = deque()
        self._waiting: list[Line] = []
        self.receipts: Counter[ReceiptKind] = Counter()
        self.lines = 0
        self.refused = 0
        self.shown: list[dict[str, Any]] = []

    async def run(self, blocks: AsyncIterator[bytes]) -> None:
        """Read to the end; raises as `BatchReader` and the client do. What was sent stays."""
        try:
            async for block in blocks:
                for at in range(0, len(block), _PIECE):
                    await self._take(self._reader.feed(block[at : at + _PIECE]))
                    await asyncio.sleep(0)  # others have their turn, whatever is in it
            await self._take(self._reader.end())
            await self._send()
            while self._sending:
                await self._sending.popleft()
        finally:
            await asyncio.gather(*self._sending, return_exceptions=True)

    def counts(self) -> dict[str, Any]:
        """What became of the lines so far."""
        return {
            "lines": self.lines,
            "receipts": dict(self.receipts),
            "refused": self.refused,
            "refused_lines": self.shown,
        }

    async def _take(self, lines: Iterable[Line | LineError]) -> None:
        for line in lines:
            self.lines += 1
            if isinstance(line, LineError):
                self._refuse(line)
            elif self._is_own(line):
                self._waiting.append(self._with_own_key(line))
            if len(self._waiting) >= _SENT_TOGETHER:
                await self._send()
            elif self.lines % _TURN == 0:
                await asyncio.sleep(0)

    def _with_own_key(self, line: Line) -> Line:
        key = line.request.idempotency_key
        if key is None:
            return line
        changed = {"idempotency_key": self._own_key(key)}
        return replace(line, request=line.request.model_copy(update=changed))

    def _is_own(self, line: Line) -> bool:
        if self._source is None or self._source == line.request.source:
            return True
        reason = f"the key speaks for {self._source}, and for nobody else"
        self._refuse(LineError(line.number, line.raw, reason, "source"))
        return False

    def _refuse(self, error: LineError) -> None:
        self.refused += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append({"line": error.number, "field": error.field, "reason": error.reason})

    async def _send(self) -> None:
        """Send what waits, while what follows is read."""
        while len(self._sending) >= (_UNDER_WAY_MAX if self._rehearsal is None else 1):
            await self._sending.popleft()
        some, self._waiting = self._waiting, []
        if some:
            sent = self._rehearse(some) if self._rehearsal else self._submit(some)
            self._sending.append(asyncio.create_task(sent))

    async def _submit(self, lines: Sequence[Line]) -> None:
        head, self._head = self._head, None
        if head is not None:
            owner = await self._client.batches.open(self._reader.batch_id, head)
            if self._source is not None and owner not in {None, self._source}:
                raise InvalidRequestError(
                    "batch_id: this batch is of another source; put your name into yours",
                    field="batch_id",
                )
        await self._client.submit_all(lines, _submission, self._learn)

    async def _rehearse(self, lines: Sequence[Line]) -> None:
        assert self._rehearsal is not None  # noqa: S101  # it is what this is called for
        for first in range(0, len(lines), REQUESTS_A_CALL):
            some = lines[first : first + REQUESTS_A_CALL]
            submissions = list(map(_submission, some))
            self._learn(some, await self._client.batches.rehearse(self._rehearsal, submissions))

    def _learn(self, lines: Sequence[Line], replies: Replies) -> None:
        for line, reply in zip(lines, replies, strict=True):
            if isinstance(reply, Accepted):
                self.receipts[reply.receipt.receipt] += 1
            elif reply.kind is RefusalKind.MEMORY:
                raise reply.as_error()
            else:
                self._refuse(LineError(line.number, line.raw, reply.reason, reply.field))


def _submission(line: Line) -> Submission:
    return Submission(line.request, line.number)
