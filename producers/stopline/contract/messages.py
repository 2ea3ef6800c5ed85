"""The Celery tasks by which requests travel, and how large a message may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

DISPATCH_TASK: Final = "stopline.dispatch"
STOP_TASK: Final = "stopline.stop"
MESSAGE_IDS_MAX: Final = 250
"""Request ids in one dispatch message, and requests that one ledger call may have."""
REQUESTS_A_CALL: Final = 64
"""Requests that are accepted, claimed or settled in one call where there are many. An urgent call
of somebody else waits behind it for two milliseconds; with four times as many, for four times as
long, and nothing won."""

ENTRY_TEMPLATE: Final = (
    r'{"body": "[[[@IDS@]], {}, {\"callbacks\": null, \"errbacks\": null, \"chain\": null, '
    r'\"chord\": null}]", "content-encoding": "utf-8", "content-type": "application/json", '
    f'"headers": {{"lang": "py", "task": "{DISPATCH_TASK}", "id": "@ID@", "root_id": "@ID@", '
    '"parent_id": null, "group": null, "eta": null, "expires": null, "retries": 0, '
    '"timelimit": [null, null], "argsrepr": "<@COUNT@ ids>", "kwargsrepr": "{}", '
    '"origin": "stopline", "ignore_result": true}, "properties": {"correlation_id": "@ID@", '
    '"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "@QUEUE@"}, '
    '"priority": 0, "delivery_tag": "@ID@"}}'
)
"""A dispatch message as it stands in a Redis queue: Celery's task message (protocol 2) in kombu's
envelope, its body as it is and not in base64. Scripts and clients fill it in: `IDS` are texts in a
text, each in quotes with a backslash before them. Celery takes four times as long to make one."""


def dispatch_entry(queue: str, request_ids: Sequence[str]) -> str:
    """The entry that tells workers of some requests, at most `MESSAGE_IDS_MAX`."""
    ids = ", ".join(rf"\"{one}\"" for one in request_ids)
    message_id = f"dispatch-{request_ids[0]}"
    values = {"IDS": ids, "ID": message_id, "QUEUE": queue, "COUNT": len(request_ids)}
    entry = ENTRY_TEMPLATE
    for name, value in values.items():
        entry = entry.replace(f"@{name}@", str(value))
    return entry
