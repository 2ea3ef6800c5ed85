"""Sending the lines of a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from stopline.bulk.lines import Line, LineError
from stopline.contract import ReceiptKind, Refusal, RefusalKind
from stopline.ledger.values import Accepted, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from stopline.ledger.commands import Replies

T = TypeVar("T")


class Submitter(Protocol):
    """What sending needs of a client."""

    def submit_all(
        self,
        items: Iterable[T],
        make: Callable[[T], Submission],
        take: Callable[[Sequence[T], Replies], None],
    ) -> None:
        """Accept any number of items in order: see `stopline.client.verbs.submit_all`."""


@dataclass(slots=True)
class Report:
    """What became of a file's lines so far."""

    batch_id: str
    receipts: Counter[ReceiptKind] = field(default_factory=Counter)
    rejected: int = 0

    @property
    def sent(self) -> int:
        """Lines that are new to the ledger with this run."""
        return self.receipts.total() - self.receipts[ReceiptKind.DUPLICATE]


def send(
    client: Submitter,
    lines: Iterable[Line | LineError],
    report: Report,
    *,
    reject: Callable[[LineError], None],
    advance: Callable[[int], None],
) -> None:
    """Send lines in messages.

    Args:
        client: what accepts them.
        lines: as `read` gives them.
        report: counts what came of them.
        reject: called with each line that was not accepted.
        advance: called with the number of lines done since the last call.
    """

    def good() -> Generator[Line]:
        for line in lines:
            if isinstance(line, Line):
                yield line
                continue
            report.rejected += 1
            reject(line)
            advance(1)

    def take(chunk: Sequence[Line], replies: Replies) -> None:
        for line, reply in zip(chunk, replies, strict=True):
            if isinstance(reply, Accepted):
                report.receipts[reply.receipt.receipt] += 1
            else:
                _reject_refused(line, reply, report, reject)
        advance(len(chunk))

    client.submit_all(good(), lambda line: Submission(line.request, line.number), take)


def _reject_refused(
    line: Line, refusal: Refusal, report: Report, reject: Callable[[LineError], None]
) -> None:
    if refusal.kind is RefusalKind.MEMORY:
        raise refusal.as_error()
    report.rejected += 1
    reject(LineError(line.number, line.raw, refusal.reason, refusal.field))
