"""kombu's Redis transport, except that garbage on a queue is kept instead of ending the worker.

kombu parses what it pops from a queue's list before Celery sees it; anything but its own envelope
raises out of the event loop, and the popped item is gone (kombu 5.7, `Channel._brpop_read`).
"""

from __future__ import annotations

import base64
import json
import logging
from queue import Empty
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from stopline_worker.quarantine import keep
from stopline_worker.runtime import runtime

_ALIASES: Final = {
    "redis": "stopline_worker.transport:Transport",
    "rediss": "stopline_worker.transport:Transport",
}
_LOGGED_BYTES_MAX: Final = 8 * 1024

_log = logging.getLogger(__name__)
_loads: Final = kombu_redis.loads


class UnreadableEntryError(ValueError):
    """An entry of a queue that kombu cannot parse; `entry` is what was popped."""

    def __init__(self, entry: object, reason: str) -> None:
        super().__init__(reason)
        self.entry = entry if isinstance(entry, bytes) else str(entry).encode("utf-8", "replace")


def _loads_or_tell(text: Any) -> Any:
    """Kombu's parser, whose every error has what it could not parse."""
    try:
        return _loads(text)
    except Exception as error:
        raise UnreadableEntryError(text, f"is no JSON ({type(error).__name__})") from error


def install() -> None:
    """Use this transport for `redis://` and `rediss://` in this process."""
    TRANSPORT_ALIASES.update(_ALIASES)
    # The module's own name for its parser: there is no other place to learn what was popped.
    kombu_redis.loads = _loads_or_tell


class Channel(kombu_redis.Channel):  # type: ignore[misc]  # kombu ships no types
    """A channel that keeps what is no JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except UnreadableEntryError as error:
            _keep(error.entry, str(error))
        except UnicodeDecodeError as error:
            _keep(bytes(error.object), "is no UTF-8")
        raise Empty


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu ships no types
    """A transport that keeps what is no envelope of kombu's."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        problem = _malformed(message)
        if problem is None:
            super()._deliver(message, queue)
        else:
            _keep(json.dumps(message).encode(), problem, queue)


def _keep(body: bytes, problem: str, queue: str | None = None) -> None:
    reason = f"the queue's entry {problem}"
    if not runtime.keep(keep(runtime.policy, body, reason, queue=queue, truncated=True)):
        # It was popped, and there is nothing to give back to the queue: the log is all there is.
        shown = base64.b64encode(body[:_LOGGED_BYTES_MAX]).decode()
        _log.error("%s: %s", reason, shown, extra={"action": "quarantine_failed"})


def _malformed(message: Any) -> str | None:
    """Why an entry is no envelope of kombu's virtual transports, or None if it is one."""
    match message:
        case {
            "body": str(body),
            "properties": {"delivery_tag": str(), "delivery_info": dict()} as properties,
            "headers": dict(),
        }:
            return _undecodable(body, properties.get("body_encoding"))
        case _:
            return "is no message of kombu's"


def _undecodable(body: str, encoding: object) -> str | None:
    if encoding not in ("base64", None):  # it may be unhashable
        return "has an unknown body encoding"
    try:
        if encoding:
            base64.b64decode(body)
    except ValueError:
        return "has a body that is no base64"
    return None
