"""The sink that makes callbacks of outcomes: one for each URL that wants to be told."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from stopline.contract import Callback, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stopline.client.callbacks import AsyncCallbackControl
    from stopline.contract import Outcome
    from stopline_outcomes.callback_file import CallbackFile

_EVENT: Final = "stop.outcome"
_TOGETHER: Final = 250
_SHARED: Final = (
    "request_id",
    "user_id",
    "task_id",
    "sub_user_id",
    "lane",
    "accepted_at",
    "attempts",
    "outcome",
    "detail",
    "finished_at",
    "verified",
)
"""What somebody who joined a request is told; the rest is the first sender's."""


class Telling:
    """Takes callbacks in, for `Sending` to send."""

    name = "callbacks"

    def __init__(self, callbacks: AsyncCallbackControl, file: CallbackFile) -> None:
        self._callbacks = callbacks
        self._file = file

    async def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Make a callback for each URL that wants to be told; `Sending` refuses what may not be."""
        wanted = [one for outcome in outcomes for one in callbacks_of(outcome, self._file)]
        for first in range(0, len(wanted), _TOGETHER):
            await self._callbacks.add(wanted[first : first + _TOGETHER])


def callbacks_of(outcome: Outcome, file: CallbackFile) -> Iterator[Callback]:
    """The callbacks of an outcome: of its sender, of its source, of who joined; each once."""
    whole = outcome.model_dump(mode="json", exclude_none=True, exclude={"joined"})
    shared: dict[str, Any] = {name: whole[name] for name in _SHARED if name in whole}
    wanted = [(outcome.callback_url, outcome.source, whole)]
    wanted.append((file.of(outcome.source).url, outcome.source, whole))
    for joined in outcome.joined:
        told: dict[str, Any] = {**shared, "source": joined.source, "reason": joined.reason}
        wanted.append((joined.callback_url, joined.source, told))
        wanted.append((file.of(joined.source).url, joined.source, told))
    seen: set[tuple[str, str]] = set()
    for url, source, data in wanted:
        if url is not None and (url, source) not in seen:
            seen.add((url, source))
            yield _callback(outcome, url, source, data)


def _callback(outcome: Outcome, url: str, source: str, data: dict[str, Any]) -> Callback:
    digest = hashlib.sha256(f"{source}\n{url}".encode()).hexdigest()[:12]
    body = {"type": _EVENT, "timestamp": rfc3339(outcome.finished_at), "data": data}
    return Callback(f"{outcome.request_id}.{digest}", url, orjson.dumps(body).decode(), source)
