"""Pages as they change: server-sent events, for as long as somebody looks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from stopline.errors import StoplineError
from stopline_gateway.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from markupsafe import Markup
    from starlette.requests import Request
    from starlette.responses import Response

    from stopline_gateway.console.looking import Looking
    from stopline_gateway.console.sessions import Session, Sessions
    from stopline_gateway.services import Services

    Body = Callable[[Request, Session], Awaitable[Markup]]

LOOK_S: Final = 1.0
_ALL_THE_SAME_S: Final = 5.0
"""Where no counter changed, a page is made anew after so long: ages go on."""
_LASTS_S: Final = 600
"""Then the browser connects again, and its session is looked at."""
_RETRY_MS: Final = 1_000


class Live:
    """Streams of pages."""

    def __init__(self, services: Services, sessions: Sessions, looking: Looking) -> None:
        self._services = services
        self._sessions = sessions
        self._looking = looking

    async def stream(self, request: Request, session: Session, body: Body) -> Response:
        """What a page shows, each time that it changes."""
        return StreamingResponse(
            self._events(request, session, body), media_type="text/event-stream"
        )

    async def _events(self, request: Request, session: Session, body: Body) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _LASTS_S
        try:
            with self._services.waiting.stream() as end:
                yield format_sse_event(retry=_RETRY_MS, comment="changes follow")
                watch = _Watch()
                while not end.done() and loop.time() < ends_at:
                    if not self._sessions.is_alive(session):
                        yield format_sse_event(event="over", data_str="the key was revoked")
                        return
                    for event in await self._changes(request, session, body, watch):
                        yield event
                    await asyncio.wait([end], timeout=LOOK_S)
        except Problem as problem:
            yield format_sse_event(event="away", data_str=problem.detail)

    async def _changes(
        self, request: Request, session: Session, body: Body, watch: _Watch
    ) -> list[bytes]:
        try:
            counts = (await self._looking.seen()).overview.counts
            if not watch.is_due(counts):
                return []
            text = str(await body(request, session))
            chart = await self._looking.chart() if "data-chart" in text else None
        except (StoplineError, Problem):
            return [format_sse_event(event="away", data_str="the ledger cannot be reached")]
        events = []
        if text != watch.text:
            watch.text = text
            partial = f'<hx-partial hx-target="#body" hx-swap="innerMorph">{text}</hx-partial>'
            events.append(format_sse_event(data_str=partial))
        if chart is not None:
            events.append(format_sse_event(event="chart", data_str=chart))
        return events


class _Watch:
    """What was sent, and of which counters."""

    def __init__(self) -> None:
        self.text = ""
        self._counts: Any = None
        self._made_at = float("-inf")

    def is_due(self, counts: object) -> bool:
        """Whether a page may look different by now."""
        now = asyncio.get_running_loop().time()
        if counts == self._counts and now - self._made_at < _ALL_THE_SAME_S:
            return False
        self._counts, self._made_at = counts, now
        return True
