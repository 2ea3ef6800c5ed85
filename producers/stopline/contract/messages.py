"""The Celery tasks by which requests travel, and how large a message may be."""

from __future__ import annotations

from typing import Final

DISPATCH_TASK: Final = "stopline.dispatch"
STOP_TASK: Final = "stopline.stop"
MESSAGE_IDS_MAX: Final = 250
"""Request ids in one dispatch message, and requests in one ledger call."""
