"""What a person may want to look at."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from stopline.contract.document import Recorded
from stopline.contract.outcomes import Outcome
from stopline.contract.times import Moment


class DeadMessage(Recorded):
    """A queue message that no worker could handle, kept whole up to a cap.

    `body` is base64, cut off at the cap when `truncated`; what is cut cannot be redriven.
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


DeadLetter = Outcome | DeadMessage
