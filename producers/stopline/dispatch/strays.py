"""Messages of Stopline's tasks that lie where no worker looks: their senders wait for nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from stopline.contract import DISPATCH_TASK, STOP_TASK, Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

CELERYS_DEFAULT: Final = "celery"
"""Where Celery sends what names no queue."""
_PRIORITY_MARK: Final = "\x06\x16"
"""Between the name of a queue and a priority, as kombu's Redis transport writes it."""
_MARKS: Final = tuple(f'"task": "{task}"'.encode() for task in (DISPATCH_TASK, STOP_TASK))
_LOOKED_AT: Final = 20
_LIMIT_S: Final = 3.0


def in_redis(client: Any) -> dict[str, int]:
    """Lists of a Redis that hold such messages, with their lengths; looks for seconds at most."""
    found = {}
    for name in _lists(client):
        if _serves(name) or name in found:
            continue
        some = client.lrange(name, -_LOOKED_AT, -1)
        if any(mark in entry for entry in some for mark in _MARKS):
            found[name] = int(client.llen(name))
    return found


def _lists(client: Any) -> Iterator[str]:
    yield CELERYS_DEFAULT
    end = time.monotonic() + _LIMIT_S
    for name in client.scan_iter(count=1000, _type="list"):
        yield name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        if time.monotonic() > end:
            return


def _serves(name: str) -> bool:
    return name.partition(_PRIORITY_MARK)[0] in {lane.queue for lane in Lane}
