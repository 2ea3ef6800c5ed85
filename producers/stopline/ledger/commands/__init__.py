"""What is asked of the ledger: commands that change it, built and read by pure functions.

The sync and the asyncio ledger run the same commands, so there is one implementation of each verb.
"""

from stopline.ledger.commands.accepting import REFUSALS, Replies, accept, redrive, rehearse
from stopline.ledger.commands.attempting import claim, claim_due, renew, settle
from stopline.ledger.commands.auditing import audit_text, count, note, spend
from stopline.ledger.commands.batches import open_batch, pause_batch, resume_batch
from stopline.ledger.commands.keeping import (
    beat,
    join_ledger,
    leave,
    quarantine,
    read_clock,
    report,
)
from stopline.ledger.commands.keeping_values import forget, recall, remember
from stopline.ledger.commands.steering import cancel, discard, resume

__all__ = [
    "REFUSALS",
    "Replies",
    "accept",
    "audit_text",
    "beat",
    "cancel",
    "claim",
    "claim_due",
    "count",
    "discard",
    "forget",
    "join_ledger",
    "leave",
    "note",
    "open_batch",
    "pause_batch",
    "quarantine",
    "read_clock",
    "recall",
    "redrive",
    "rehearse",
    "remember",
    "renew",
    "report",
    "resume",
    "resume_batch",
    "settle",
    "spend",
]
