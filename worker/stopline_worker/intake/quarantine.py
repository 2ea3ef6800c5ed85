"""Messages that no worker can handle: kept in the ledger, where people find them.

They become dead letters (`stopline dead list`), with the body up to a cap, the reason and the time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stopline.contract import junk_of, junk_text, plain_headers
from stopline.ledger import commands

if TYPE_CHECKING:
    from stopline.contract import Junk
    from stopline_worker.intake.deliveries import Delivery
    from stopline_worker.process.runtime import Runtime

_log = logging.getLogger(__name__)


def junk_of_delivery(delivery: Delivery, reason: str) -> Junk:
    """A message, to be kept."""
    body = delivery.body
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else bytes(body or b"")
    headers = plain_headers(delivery.headers)
    return junk_of(
        raw,
        reason,
        queue=delivery.queue,
        content_type=junk_text(delivery.content_type),
        content_encoding=junk_text(delivery.content_encoding),
        headers=headers,
        truncated=headers is None,
    )


class Quarantine:
    """Keeps messages in the ledger of a process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def keep(self, junk: Junk) -> bool:
        """Keep a message; False if the ledger is away, or has no room for it."""
        try:
            command = commands.quarantine(self._runtime.limits, junk)
            made = self._runtime.ledger.run(command)
        except Exception:  # noqa: BLE001  # see below
            # Whatever it is, it must not end the consumer.
            _log.exception("message not kept", extra={"action": "quarantine_failed"})
            return False
        what = {"message_id": junk.message_id, "queue": junk.queue, "reason": junk.reason}
        _log.warning("message kept in quarantine", extra={"action": "quarantined", **what})
        if made.cut or made.dropped:
            _log.warning(
                "to keep it, the bodies of %d older ones were cut, and %d were dropped",
                made.cut,
                made.dropped,
                extra={"action": "quarantine_cut"},
            )
        return True
