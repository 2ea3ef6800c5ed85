"""The words of Stopline as types: what producers send, what they get, what is recorded.

Pure: no Celery, no Redis, no HTTP. Times in documents are RFC 3339, UTC, milliseconds; a field
that is absent means null. Inside the ledger times are whole microseconds since the epoch.
"""

from stopline.contract.audits import Actor, AuditAction, AuditEntry
from stopline.contract.batches import Batch
from stopline.contract.counts import (
    BEYOND,
    CALL_BUCKETS_S,
    STOP_BUCKETS_S,
    Counts,
    Histogram,
    StatusClass,
    bucket_name,
    is_event,
    parse_counts,
    status_class,
)
from stopline.contract.dead_letters import DeadFilter, DeadLetter, DeadMessage
from stopline.contract.document import Document
from stopline.contract.json_text import parse_json
from stopline.contract.junk import Junk, junk_of, junk_text, plain_headers
from stopline.contract.lanes import Lane
from stopline.contract.messages import (
    DISPATCH_TASK,
    ENTRY_TEMPLATE,
    MESSAGE_IDS_MAX,
    REQUESTS_A_CALL,
    STOP_TASK,
    dispatch_entry,
)
from stopline.contract.names import (
    NAME_CHARACTERS_MAX,
    Identifier,
    Name,
    check_name,
    is_identifier,
    is_trace_parent,
    new_request_id,
    short_key,
)
from stopline.contract.outcomes import (
    DEAD_OUTCOMES,
    Attempt,
    Join,
    KeptOutcome,
    OpenRequest,
    Outcome,
    OutcomeKind,
    RequestDocument,
    State,
    Status,
    Verdict,
)
from stopline.contract.overviews import (
    LaneView,
    OpenPage,
    OpenPlace,
    Overview,
    Recount,
    RequestFilter,
    ServerMemory,
    Snapshot,
    TargetView,
    WrongCounter,
)
from stopline.contract.processes import (
    ApiState,
    Beat,
    BridgeState,
    Heartbeat,
    ProcessRole,
    engine_id,
    worker_of,
)
from stopline.contract.rates import Rate, RateText, Spent
from stopline.contract.receipts import (
    CancelResult,
    Receipt,
    ReceiptKind,
    Refusal,
    RefusalKind,
    ResumeResult,
)
from stopline.contract.requests import REASON_CHARACTERS_MAX, REQUEST_BYTES_MAX, StopRequest
from stopline.contract.targets import Target
from stopline.contract.times import (
    Moment,
    from_microseconds,
    parse_moment,
    rfc3339,
    to_microseconds,
)
from stopline.contract.validation import describe

__all__ = [
    "BEYOND",
    "CALL_BUCKETS_S",
    "DEAD_OUTCOMES",
    "DISPATCH_TASK",
    "ENTRY_TEMPLATE",
    "MESSAGE_IDS_MAX",
    "NAME_CHARACTERS_MAX",
    "REASON_CHARACTERS_MAX",
    "REQUESTS_A_CALL",
    "REQUEST_BYTES_MAX",
    "STOP_BUCKETS_S",
    "STOP_TASK",
    "Actor",
    "ApiState",
    "Attempt",
    "AuditAction",
    "AuditEntry",
    "Batch",
    "Beat",
    "BridgeState",
    "CancelResult",
    "Counts",
    "DeadFilter",
    "DeadLetter",
    "DeadMessage",
    "Document",
    "Heartbeat",
    "Histogram",
    "Identifier",
    "Join",
    "Junk",
    "KeptOutcome",
    "Lane",
    "LaneView",
    "Moment",
    "Name",
    "OpenPage",
    "OpenPlace",
    "OpenRequest",
    "Outcome",
    "OutcomeKind",
    "Overview",
    "ProcessRole",
    "Rate",
    "RateText",
    "Receipt",
    "ReceiptKind",
    "Recount",
    "Refusal",
    "RefusalKind",
    "RequestDocument",
    "RequestFilter",
    "ResumeResult",
    "ServerMemory",
    "Snapshot",
    "Spent",
    "State",
    "Status",
    "StatusClass",
    "StopRequest",
    "Target",
    "TargetView",
    "Verdict",
    "WrongCounter",
    "bucket_name",
    "check_name",
    "describe",
    "dispatch_entry",
    "engine_id",
    "from_microseconds",
    "is_event",
    "is_identifier",
    "is_trace_parent",
    "junk_of",
    "junk_text",
    "new_request_id",
    "parse_counts",
    "parse_json",
    "parse_moment",
    "plain_headers",
    "rfc3339",
    "short_key",
    "status_class",
    "to_microseconds",
    "worker_of",
]
