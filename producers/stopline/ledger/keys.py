"""Every key that the ledger uses: this is the only place that spells them.

All share the hash tag `{stopline}`, so that they live on one node. The Lua scripts get the
prefixes from `LUA_NAMES`. The one exception is the outcome, whose key belongs to Celery
(`celery.backends.base.KeyValueStoreBackend.task_keyprefix`).

| key | type | holds |
|---|---|---|
| `{stopline}:r:<request_id>` | string | an open request (`RECORD` in `layouts.py`) |
| `{stopline}:t:<digest>` | string | what is known of a target (`TARGET` in `layouts.py`) |
| `{stopline}:due:<lane>` | sorted set | open requests by the moment when somebody must look again |
| `{stopline}:i:<idempotency_key>` | string | request id and target, a line each |
| `{stopline}:b:<batch_id>` | hash | counters of a batch |
| `{stopline}:b:<batch_id>:<n>` | hash | its n-th hundred: place → request id, digest |
| `{stopline}:b:<batch_id>:chunks` | set | the n of these hundreds |
| `{stopline}:turns:<lane>` | list | whose requests wait for their turn (`scripts/_backlog.lua`) |
| `{stopline}:backlog:<lane>:<whose>` | list | those that wait, of a batch or of a user |
| `{stopline}:dead` | sorted set | ids of dead letters and messages by when they died |
| `{stopline}:s:<engine>` | string | an engine's last sweep: its token, and what it granted |
| `{stopline}:m:<message_id>` | string | a quarantined message (`scripts/_quarantine.lua`) |
| `{stopline}:messages` | sorted set | ids of quarantined messages by when they came |
| `{stopline}:bodies` | sorted set | ids of those that were not cut |
| `{stopline}:quarantine` | hash | bytes of each and of all; how many were cut and dropped |
| `{stopline}:clock` | string | what the ledger's clock gave last (`scripts/_clock.lua`) |
| `{stopline}:format` | string | the format of all of this, a number (`FORMAT_VERSION`) |
| `{stopline}:durable` | string | written before a promise, so that there is a write to wait for |
| `{stopline}:processes` | sorted set | ids of worker processes by their last heartbeat |
| `{stopline}:h:<process_id>` | string | a heartbeat, JSON |
| `{stopline}:outcomes` | stream | outcomes as they come, JSON; where they are wanted |
| `{stopline}:sinks` | string | who must have all outcomes: groups of their stream, a line each |
| `{stopline}:callback:<id>` | string | an outcome for a URL (`scripts/_callbacks.lua`) |
| `{stopline}:callbacks` | sorted set | ids of callbacks by when they are to be sent |
| `{stopline}:untold` | sorted set | ids of callbacks that were given up, by when |
| `{stopline}:gone` | sorted set | URLs that want no callbacks, by when they said so |
| `{stopline}:audit` | stream | who changed what, JSON (`contract.AuditEntry`) |
| `{stopline}:counts` | hash | counters (`scripts/_tally.lua`), and of what leaves no record |
| `{stopline}:ages` | hash | open requests by lane and the second in which they were accepted |
| `{stopline}:age:<lane>` | sorted set | those seconds |
| `{stopline}:recent` | list | ids of the last requests that ended, the newest first |
| `{stopline}:batches` | sorted set | the last batches, by when they began |
| `{stopline}:value:<name>` | string | what a service keeps for a while: a session of the console |
| `{stopline}:history` | stream | the counters as they were each minute of a day |
| `{stopline}:minute` | string | there while this minute is in it |
| `{stopline}:rate:<name>` | string | when the next of a name's calls would be due (`spend.lua`) |
| `{stopline}:gate` | string | whether calls may be made (`GATE` in `layouts.py`); none: all may |
| `{stopline}:calling` | sorted set | calls under way by leases' ends; where they are limited |
| `{stopline}:pauses` | hash | lane → who paused it, why, until when: JSON |
| `{stopline}:guards` | string | the guards, JSON (`contract.Guard`); none: nobody is kept back |
| `{stopline}:guard:<source>` | hash | the state of a guard (`scripts/_guards.lua`) |
| `{stopline}:passed:<source>` | list | when its last new requests went |
| `{stopline}:held:<source>` | sorted set | ids of those that it holds, by when they were accepted |
| `{stopline}:holding` | set | sources of guards that hold some, or did |
| `{stopline}:events` | stream | the last events that came in, JSON; where they are wanted |
| `celery-task-meta-<request_id>` | string | the outcome, as Celery's results backend has it |
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stopline.contract import Lane, Target

FORMAT_VERSION: Final = 1
"""Of what is written here. It counts up where the version before could not work with it any more: a
worker of that version does not start then (docs/upgrading.md)."""
RECORD: Final = "{stopline}:r:"
TARGET: Final = "{stopline}:t:"
DUE: Final = "{stopline}:due:"
IDEMPOTENCY: Final = "{stopline}:i:"
BATCH: Final = "{stopline}:b:"
TURNS: Final = "{stopline}:turns:"
BACKLOG: Final = "{stopline}:backlog:"
DEAD: Final = "{stopline}:dead"
MESSAGE: Final = "{stopline}:m:"
SWEEP: Final = "{stopline}:s:"
MESSAGES: Final = "{stopline}:messages"
BODIES: Final = "{stopline}:bodies"
QUARANTINE: Final = "{stopline}:quarantine"
CLOCK: Final = "{stopline}:clock"
FORMAT: Final = "{stopline}:format"
DURABLE: Final = "{stopline}:durable"
PROCESSES: Final = "{stopline}:processes"
HEARTBEAT: Final = "{stopline}:h:"
OUTCOMES: Final = "{stopline}:outcomes"
SINKS: Final = "{stopline}:sinks"
CALLBACK: Final = "{stopline}:callback:"
CALLBACKS: Final = "{stopline}:callbacks"
UNTOLD: Final = "{stopline}:untold"
GONE: Final = "{stopline}:gone"
COUNTS: Final = "{stopline}:counts"
AGES: Final = "{stopline}:ages"
AGE: Final = "{stopline}:age:"
RECENT: Final = "{stopline}:recent"
BATCHES: Final = "{stopline}:batches"
VALUE: Final = "{stopline}:value:"
HISTORY: Final = "{stopline}:history"
MINUTE: Final = "{stopline}:minute"
AUDIT: Final = "{stopline}:audit"
RATE: Final = "{stopline}:rate:"
GATE: Final = "{stopline}:gate"
CALLING: Final = "{stopline}:calling"
PAUSES: Final = "{stopline}:pauses"
GUARDS: Final = "{stopline}:guards"
GUARD: Final = "{stopline}:guard:"
PASSED: Final = "{stopline}:passed:"
HELD: Final = "{stopline}:held:"
HOLDING: Final = "{stopline}:holding"
EVENTS: Final = "{stopline}:events"
RESULT: Final = "celery-task-meta-"

LUA_NAMES: Final = {
    "RECORD": RECORD,
    "TARGET": TARGET,
    "DUE": DUE,
    "IDEMPOTENCY": IDEMPOTENCY,
    "BATCH": BATCH,
    "TURNS": TURNS,
    "BACKLOG": BACKLOG,
    "DEAD": DEAD,
    "MESSAGE": MESSAGE,
    "SWEEP": SWEEP,
    "MESSAGES": MESSAGES,
    "BODIES": BODIES,
    "QUARANTINE": QUARANTINE,
    "CLOCK": CLOCK,
    "FORMAT": FORMAT,
    "DURABLE": DURABLE,
    "PROCESSES": PROCESSES,
    "HEARTBEAT": HEARTBEAT,
    "OUTCOMES": OUTCOMES,
    "SINKS": SINKS,
    "CALLBACK": CALLBACK,
    "CALLBACKS": CALLBACKS,
    "UNTOLD": UNTOLD,
    "GONE": GONE,
    "COUNTS": COUNTS,
    "AGES": AGES,
    "AGE": AGE,
    "RECENT": RECENT,
    "BATCHES": BATCHES,
    "VALUE": VALUE,
    "HISTORY": HISTORY,
    "MINUTE": MINUTE,
    "AUDIT": AUDIT,
    "RATE": RATE,
    "GATE": GATE,
    "CALLING": CALLING,
    "PAUSES": PAUSES,
    "GUARDS": GUARDS,
    "GUARD": GUARD,
    "PASSED": PASSED,
    "HELD": HELD,
    "HOLDING": HOLDING,
    "EVENTS": EVENTS,
    "RESULT": RESULT,
}


def record(request_id: str) -> str:
    """The key of an open request."""
    return RECORD + request_id


def target_digest(target: str) -> str:
    """128 bits that stand for a target in keys: with 22 characters for up to 386.

    BLAKE2b keeps anybody from finding two targets with one digest.
    """
    hashed = hashlib.blake2b(target.encode(), digest_size=16).digest()
    return base64.urlsafe_b64encode(hashed).decode().rstrip("=")


def target(target: Target) -> str:
    """The key of what is known of a target."""
    return TARGET + target_digest(str(target))


def due(lane: Lane) -> str:
    """The key of a lane's index of open requests."""
    return DUE + lane.value


def batch(batch_id: str) -> str:
    """The key of a batch's counters."""
    return BATCH + batch_id


def batch_chunks(batch_id: str) -> str:
    """The key of the set of a batch's chunks."""
    return f"{BATCH}{batch_id}:chunks"


def batch_places(batch_id: str, chunk: str) -> str:
    """The key of one chunk of a batch's places."""
    return f"{BATCH}{batch_id}:{chunk}"


def message(message_id: str) -> str:
    """The key of a quarantined message."""
    return MESSAGE + message_id


def heartbeat(process_id: str) -> str:
    """The key of a process's heartbeat."""
    return HEARTBEAT + process_id


def result(request_id: str) -> str:
    """The key, and the channel, of a request's outcome in Celery's results backend."""
    return RESULT + request_id


def request_of_result(key: str) -> str:
    """The request whose outcome has this key."""
    return key.removeprefix(RESULT)
