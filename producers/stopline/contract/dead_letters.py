"""What a person may want to look at."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from stopline.contract.document import Document, Recorded
from stopline.contract.outcomes import Outcome, OutcomeKind
from stopline.contract.times import Moment


class DeadMessage(Recorded):
    """A message that nobody could handle, kept whole up to a cap.

    `body` is base64, cut off at the cap when `truncated`. One of a queue can be sent again if it is
    whole; one of a stream has its `origin` there.
    """

    message_id: str
    queue: str | None = None
    reason: str
    quarantined_at: Moment
    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] = Field(default_factory=dict)
    body: str
    truncated: bool = False
    origin: str | None = None

    @property
    def can_be_redriven(self) -> bool:
        """Whether it can go back to its queue."""
        return not self.truncated and self.queue is not None


DeadLetter = Outcome | DeadMessage


def letter_id(letter: DeadLetter) -> str:
    """The id by which a dead letter is shown, sent again or dropped."""
    return letter.message_id if isinstance(letter, DeadMessage) else letter.request_id


class DeadFilter(Document):
    """Which dead letters are meant; what is None says nothing."""

    outcome: OutcomeKind | None = None
    user_id: str | None = None
    batch_id: str | None = None
    since: Moment | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it means all."""
        return self == DeadFilter()

    def matches(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant; `since` is for who looks for them."""
        if isinstance(letter, DeadMessage):
            is_quarantined = self.outcome in {None, OutcomeKind.QUARANTINED}
            return is_quarantined and self.user_id is None and self.batch_id is None
        return (
            (self.outcome is None or letter.outcome is self.outcome)
            and (self.user_id is None or letter.user_id == self.user_id)
            and (self.batch_id is None or letter.batch_id == self.batch_id)
        )
