"""What sending requests would come to, without sending them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stopline.client.verbs.steps import Verb, run
from stopline.contract import ReceiptKind, Refusal
from stopline.ledger import commands
from stopline.ledger.values import Accepted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.commands import Replies
    from stopline.ledger.limits import Limits
    from stopline.ledger.values import Submission


_REMEMBERED_MAX: Final = 1_000_000
"""Targets: of more, a second request for one counts as another."""


class Rehearsal:
    """Learns, piece by piece, what accepting some requests would come to now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._before = ""
        self._wanted: set[int] = set()

    def learn(self, submissions: Sequence[Submission]) -> Verb[Replies]:
        """What would become of some requests, after those of the calls before.

        Args:
            submissions: at most `REQUESTS_A_CALL`.
        """
        command = commands.rehearse(self._limits, submissions, self._before)
        replies, self._before = yield from run(command)
        return tuple(map(self._as_later, submissions, replies))

    def _as_later(self, submission: Submission, reply: Accepted | Refusal) -> Accepted | Refusal:
        """A second request for the same target would join the first, which is not there."""
        if isinstance(reply, Refusal) or reply.receipt.receipt is not ReceiptKind.ACCEPTED:
            return reply
        known = hash(submission.request.target)  # 64 bits of each: there may be millions
        if known not in self._wanted:
            if len(self._wanted) < _REMEMBERED_MAX:
                self._wanted.add(known)
            return reply
        return Accepted(reply.receipt._replace(receipt=ReceiptKind.JOINED), dispatch=False)
