"""What a client can do, written once for both clients."""

from stopline.client.verbs.dead_letters import dead_count, dead_letter, dead_page, discard, redrive
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
from stopline.client.verbs.submitting import Take, stop, submit, submit_all, submit_many

__all__ = [
    "Await",
    "Begin",
    "Dispatch",
    "Finish",
    "Heartbeats",
    "Republish",
    "Run",
    "Step",
    "Take",
    "Verb",
    "batch",
    "cancel",
    "cancel_batch",
    "dead_count",
    "dead_letter",
    "dead_page",
    "discard",
    "heartbeats",
    "now",
    "outcome",
    "redrive",
    "resumed",
    "status",
    "stop",
    "submit",
    "submit_all",
    "submit_many",
    "wait",
]
