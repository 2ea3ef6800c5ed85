"""Sending the lines of a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from stopline.bulk.lines import Line, LineError
from stopline.contract import REQUESTS_A_CALL, ReceiptKind, Refusal, RefusalKind
from stopline.ledger.values import Accepted, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from stopline.client.sync_client import StopClient
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
    taking = _Taking(report, reject, advance)
    client.submit_all(taking.good(lines), _submission, taking.take)


def rehearse(
    client: StopClient,
    lines: Iterable[Line | LineError],
    report: Report,
    *,
    reject: Callable[[LineError], None],
    advance: Callable[[int], None],
) -> None:
    """Learn what `send` would come to now; nothing is sent."""
    taking = _Taking(report, reject, advance)
    good, rehearsal = taking.good(lines), client.batches.rehearsal()
    while chunk := list(islice(good, REQUESTS_A_CALL)):
        taking.take(chunk, client.batches.rehearse(rehearsal, list(map(_submission, chunk))))


def _submission(line: Line) -> Submission:
    return Submission(line.request, line.number)


@dataclass(frozen=True, slots=True)
class _Taking:
    """Counts what becomes of lines."""

    report: Report
    reject: Callable[[LineError], None]
    advance: Callable[[int], None]

    def good(self, lines: Iterable[Line | LineError]) -> Generator[Line]:
        for line in lines:
            if isinstance(line, Line):
                yield line
                continue
            self.report.rejected += 1
            self.reject(line)
            self.advance(1)

    def take(self, chunk: Sequence[Line], replies: Replies) -> None:
        for line, reply in zip(chunk, replies, strict=True):
            if isinstance(reply, Accepted):
                self.report.receipts[reply.receipt.receipt] += 1
            else:
                _reject_refused(line, reply, self.report, self.reject)
        self.advance(len(chunk))


def _reject_refused(
    line: Line, refusal: Refusal, report: Report, reject: Callable[[LineError], None]
) -> None:
    if refusal.kind is RefusalKind.MEMORY:
        raise refusal.as_error()
    report.rejected += 1
    reject(LineError(line.number, line.raw, refusal.reason, refusal.field))
