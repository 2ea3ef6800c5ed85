"""Messages that no worker can handle: kept in the ledger, where people find them.

Stock Celery deletes undecodable, unknown and invalid messages with a log line. Here they become
dead letters (`stopline dead list`), with the body up to a cap, the reason and the time.
"""

from __future__ import annotations

import base64
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from celery.worker.consumer import Consumer

from stopline.contract import new_request_id
from stopline.ledger import commands
from stopline_worker.runtime import runtime

if TYPE_CHECKING:
    from kombu.message import Message

    from stopline.ledger.values import Command, Policy

_log = logging.getLogger(__name__)
BODY_BYTES_MAX: Final = 64 * 1024
HEADER_BYTES_MAX: Final = 8 * 1024
_AWAY_S: Final = 1.0


def keep_message(policy: Policy, message: Message, reason: str) -> Command[None]:
    """The command that keeps a message of kombu's."""
    body = message.body
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else bytes(body or b"")
    headers = _plain(message.headers)
    return keep(
        policy,
        raw,
        reason,
        queue=_text((message.delivery_info or {}).get("routing_key")),
        content_type=_text(message.content_type),
        content_encoding=_text(message.content_encoding),
        headers=headers,
        truncated=headers is None,
    )


def keep(policy: Policy, body: bytes, reason: str, **fields: Any) -> Command[None]:
    """The command that keeps a body, cut off at the cap."""
    truncated = bool(fields.pop("truncated", False)) or len(body) > BODY_BYTES_MAX
    return commands.quarantine(
        policy,
        new_request_id(),
        {
            "reason": _text(reason),
            "body": base64.b64encode(body[:BODY_BYTES_MAX]).decode(),
            "truncated": truncated,
            **fields,
        },
    )


def _text(value: object) -> str | None:
    """Text that any JSON can hold: without lone surrogates."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _plain(headers: object) -> dict[str, Any] | None:
    """The headers if they are small and of JSON, else None: then the message is kept in part."""
    if not isinstance(headers, dict):
        return None
    try:
        size = len(commands.members(headers))
    except (TypeError, ValueError):
        return None
    return headers if size <= HEADER_BYTES_MAX else None


class QuarantiningConsumer(Consumer):  # type: ignore[misc]  # Celery ships no types
    """Celery's consumer, except that it keeps what the stock one deletes (`worker_consumer`).

    It also comes back sooner after a broker was away.
    """

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, with two seconds between attempts at the most.

        Celery lets them grow to thirty, and has no setting for it
        (`kombu.Connection.ensure_connection`).
        """
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=0.5, interval_step=0.5, interval_max=2.0
        )
        return super().ensure_connected(conn)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Look at each message before Celery acts on it, and catch what Celery chokes on."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Message) -> None:
            try:
                if problem := _malformed(message):
                    self._quarantine(message, problem)
                else:
                    handle(message)
            except self.connection_errors:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it raises, the message is kept
                # Stock Celery would end the worker here, and the next one at the same message.
                _log.exception("message not understood", extra={"action": "message_failed"})
                self._quarantine(message, f"cannot be handled: {type(error).__name__}: {error}")

        return on_task_received

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """A body that cannot be decoded, or of a content type that is not accepted."""
        self._quarantine(message, f"cannot be decoded: {type(exc).__name__}: {exc}")

    def on_unknown_message(self, body: object, message: Message) -> None:  # noqa: ARG002  # Celery's signature
        """A message that is no Celery task."""
        self._quarantine(message, "is no Celery task message")

    def on_unknown_task(self, body: object, message: Message, exc: Exception) -> None:  # noqa: ARG002  # Celery's signature
        """A task that this worker does not have."""
        self._quarantine(message, f"unknown task {exc}")

    def on_invalid_task(self, body: object, message: Message, exc: Exception) -> None:  # noqa: ARG002  # Celery's signature
        """A task message whose parts do not fit together."""
        self._quarantine(message, f"invalid task: {type(exc).__name__}: {exc}")

    def _quarantine(self, message: Message, reason: str) -> None:
        if runtime.keep(keep_message(runtime.policy, message, reason)):
            message.ack_log_error(_log, self.connection_errors)
        else:
            # Not to spin while the ledger is away and the broker is not.
            time.sleep(_AWAY_S)
            message.reject_log_error(_log, self.connection_errors, requeue=True)


def _malformed(message: Message) -> str | None:
    """Why a message is no task message of Celery's protocol 2, or None if it is one.

    https://docs.celeryq.dev/en/stable/internals/protocol.html
    """
    headers = message.headers
    if not isinstance(headers, dict) or not isinstance(headers.get("task"), str):
        return "is no Celery task message: its headers name no task"
    if not isinstance(headers.get("id"), str):
        return "is no Celery task message: its headers have no id"
    try:
        payload = message.decode()
    except Exception as error:  # noqa: BLE001  # whatever a decoder raises, it cannot decode
        return f"cannot be decoded: {type(error).__name__}: {error}"
    match payload:
        case [list() | tuple(), dict(), dict() | None]:
            return None
        case _:
            return "is no Celery task message: its body is not [args, kwargs, embed]"
