"""Messages that no worker can handle: kept in the ledger, where people find them.

They become dead letters (`stopline dead list`), with the body up to a cap, the reason and the time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from stopline.contract import new_request_id
from stopline.ledger import commands
from stopline.ledger.values import Junk

if TYPE_CHECKING:
    from stopline_worker.intake.deliveries import Delivery
    from stopline_worker.process.runtime import Runtime

_log = logging.getLogger(__name__)
BODY_BYTES_MAX: Final = 64 * 1024
HEADER_BYTES_MAX: Final = 8 * 1024
_REASON_CHARACTERS_MAX: Final = 200
_TEXT_CHARACTERS_MAX: Final = 255


def junk_of_delivery(delivery: Delivery, reason: str) -> Junk:
    """A message, to be kept."""
    body = delivery.body
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else bytes(body or b"")
    headers = _plain(delivery.headers)
    return junk_of(
        raw,
        reason,
        queue=delivery.queue,
        content_type=_text(delivery.content_type),
        content_encoding=_text(delivery.content_encoding),
        headers=headers,
        truncated=headers is None,
    )


def junk_of(
    body: bytes, reason: str, *, queue: object = None, truncated: bool = False, **fields: Any
) -> Junk:
    """A body to be kept, cut off at the cap."""
    return Junk(
        new_request_id(),
        str(_text(reason, _REASON_CHARACTERS_MAX)),
        body[:BODY_BYTES_MAX],
        queue=_text(queue),
        truncated=truncated or len(body) > BODY_BYTES_MAX,
        **fields,
    )


def _text(value: object, longest: int = _TEXT_CHARACTERS_MAX) -> str | None:
    """Text that any JSON can hold, without lone surrogates, cut."""
    if not isinstance(value, str):
        return None
    return value[:longest].encode("utf-8", "replace").decode()


def _plain(headers: object) -> dict[str, Any] | None:
    """The headers if they are small and of JSON, else None: then the message is kept in part."""
    if not isinstance(headers, dict):
        return None
    try:
        size = len(orjson.dumps(headers))
    except (TypeError, ValueError, RecursionError):
        return None
    return headers if size <= HEADER_BYTES_MAX else None


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
