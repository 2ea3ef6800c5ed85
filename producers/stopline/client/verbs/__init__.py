"""What a client can do, written once for both clients."""

from stopline.client.verbs.dead_letters import dead_count, dead_letter, dead_page, discard, redrive
from stopline.client.verbs.keeping import beat, leave, quarantine
from stopline.client.verbs.looking import Heartbeats, batch, heartbeats, now, outcome, status, wait
from stopline.client.verbs.steering import cancel, cancel_batch, resumed
from stopline.client.verbs.steps import (
    Await,
    Begin,
    Dispatch,
    Finish,
    Republish,
    Run,
    Step,
    Verb,
)
from stopline.client.verbs.submitting import (
    Take,
    submission,
    submit,
    submit_all,
    submit_each,
    submit_many,
)
from stopline.client.verbs.trails import (
    AuditPlace,
    OutcomePage,
    audit_page,
    count,
    counts,
    last_outcome,
    note,
    outcomes,
    spend,
)

__all__ = [
    "AuditPlace",
    "Await",
    "Begin",
    "Dispatch",
    "Finish",
    "Heartbeats",
    "OutcomePage",
    "Republish",
    "Run",
    "Step",
    "Take",
    "Verb",
    "audit_page",
    "batch",
    "beat",
    "cancel",
    "cancel_batch",
    "count",
    "counts",
    "dead_count",
    "dead_letter",
    "dead_page",
    "discard",
    "heartbeats",
    "last_outcome",
    "leave",
    "note",
    "now",
    "outcome",
    "outcomes",
    "quarantine",
    "redrive",
    "resumed",
    "spend",
    "status",
    "submission",
    "submit",
    "submit_all",
    "submit_each",
    "submit_many",
    "wait",
]
