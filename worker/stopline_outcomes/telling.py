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
_OF_OTHERS: Final = ("source", "reason", "idempotency_key", "callback_url", "traceparent")
"""What somebody who joined a request is not told: it is the first sender's."""


class Telling:
    """Takes callbacks in, for `Sending` to send."""

    name = "callbacks"

    def __init__(self, callbacks: AsyncCallbackControl, file: CallbackFile) -> None:
        self._callbacks = callbacks
        self._file = file

    async def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Make a callback for each URL that wants to be told; of none that is not allowed."""
        wanted = [one for outcome in outcomes for one in callbacks_of(outcome, self._file)]
        for first in range(0, len(wanted), _TOGETHER):
            await self._callbacks.add(wanted[first : first + _TOGETHER])


def callbacks_of(outcome: Outcome, file: CallbackFile) -> Iterator[Callback]:
    """The callbacks of an outcome, each URL once: of its sender, of its source, of who joined."""
    whole = outcome.model_dump(mode="json", exclude_none=True, exclude={"joined"})
    own = file.of(outcome.source)
    seen: set[str] = set()
    for url in (outcome.callback_url, own.url):
        if url is not None and url not in seen and file.allows(url):
            seen.add(url)
            yield _callback(outcome, url, outcome.source, whole)
    shared = {name: value for name, value in whole.items() if name not in _OF_OTHERS}
    for joined in outcome.joined:
        for url in (joined.callback_url, file.of(joined.source).url):
            if url is not None and url not in seen and file.allows(url):
                seen.add(url)
                known = {"source": joined.source, "reason": joined.reason}
                yield _callback(outcome, url, joined.source, {**shared, **known})


def _callback(outcome: Outcome, url: str, source: str, data: dict[str, Any]) -> Callback:
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    body = {"type": _EVENT, "timestamp": rfc3339(outcome.finished_at), "data": data}
    return Callback(f"{outcome.request_id}.{digest}", url, orjson.dumps(body).decode(), source)
