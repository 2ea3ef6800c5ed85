"""Results as Celery's backend writes them, for messages that were never accepted. Pure.

`celery.backends.base.Backend.prepare_exception` and `_get_result_meta`: who looks for the result of
such a message raises an error of this kind.
"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson


def failure(task_id: str, error: Exception) -> bytes:
    """What was wrong with a message."""
    kind = type(error)
    found = {
        "exc_type": kind.__qualname__,
        "exc_message": [str(one) for one in error.args],
        "exc_module": kind.__module__,
    }
    return _result(task_id, "FAILURE", found)


def revocation(task_id: str) -> bytes:
    """Somebody revoked it."""
    found = {
        "exc_type": "TaskRevokedError",
        "exc_message": ["revoked"],
        "exc_module": "celery.exceptions",
    }
    return _result(task_id, "REVOKED", found)


def _result(task_id: str, status: str, result: object) -> bytes:
    return orjson.dumps(
        {
            "status": status,
            "result": result,
            "traceback": None,
            "children": [],
            "date_done": datetime.now(UTC).isoformat(),
            "task_id": task_id,
        }
    )
