"""Many requests that were submitted as one."""

from __future__ import annotations

from stopline.contract.document import Document
from stopline.contract.outcomes import OutcomeKind
from stopline.contract.receipts import ReceiptKind
from stopline.contract.times import Moment


class Batch(Document):
    """Progress and report of a batch."""

    batch_id: str
    total: int
    pending: int
    outcomes: dict[OutcomeKind, int]
    receipts: dict[ReceiptKind, int]
    submitted_at: Moment
    finished_at: Moment | None = None
