"""Pages as they change: server-sent events, for as long as somebody looks."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from stopline.errors import StoplineError
from stopline_gateway.problems import Kind, Problem, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from markupsafe import Markup
    from starlette.requests import Request
    from starlette.responses import Response

    from stopline_gateway.console.looking import Looking
    from stopline_gateway.console.sessions import Session, Sessions
    from stopline_gateway.services import Services

    Body = Callable[[Request, Session], Awaitable[Markup]]

LOOK_S: Final = 0.5
"""With the age of what is seen, a change is shown within a second."""
_ALL_THE_SAME_S: Final = 5.0
"""Where no counter changed, a page is made anew after so long: ages go on."""
_SHARE: Final = 0.05
"""Of the time, that making a page may take."""
_PAUSE_MAX_S: Final = 5.0
"""However long it took once: a browser takes longer silence for a gateway that is gone."""
_OPEN_MAX: Final = 300
"""Pages that a process keeps up to date."""
_OPEN_OF_ONE_MAX: Final = 30
"""Those of one session."""
_BEAT_S: Final = 4.0
_LASTS_S: Final = 600
"""Then the browser connects again, and its session is looked at."""
_RETRY_MS: Final = 1_000


class Live:
    """Streams of pages."""

    def __init__(self, services: Services, sessions: Sessions, looking: Looking) -> None:
        self._services = services
        self._sessions = sessions
        self._looking = looking
        self._open: Counter[str] = Counter()
        """Pages that are open, by session."""

    async def stream(self, request: Request, session: Session, body: Body) -> Response:
        """What a page shows, each time that it changes; raises `Problem` where too many look."""
        if self._services.waiting.is_closing:
            raise Problem(Kind.CLOSING, "Connect again.", headers=retry_after(1))
        if self._open.total() >= _OPEN_MAX or self._open[session.name] >= _OPEN_OF_ONE_MAX:
            raise Problem(Kind.BUSY, "Too many pages are open here.", headers=retry_after(10))
        return StreamingResponse(
            self._events(request, session, body), media_type="text/event-stream"
        )

    @contextmanager
    def _counted(self, session: Session) -> Iterator[None]:
        name = session.name
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    async def _events(self, request: Request, session: Session, body: Body) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _LASTS_S
        with self._counted(session), self._services.waiting.end() as end:
            yield format_sse_event(retry=_RETRY_MS, comment="changes follow")
            watch = _Watch()
            while not end.done() and loop.time() < ends_at:
                try:
                    if not await self._sessions.is_alive(request, session):
                        yield format_sse_event(event="over", data_str="the session is over")
                        return
                    events = await self._changes(request, session, body, watch)
                except StoplineError:
                    events = [watch.away("Redis cannot be reached")]
                except Problem as problem:
                    events = [watch.away(problem.detail)]
                for event in events:
                    yield event
                await asyncio.wait([end], timeout=watch.pause_s)

    async def _changes(
        self, request: Request, session: Session, body: Body, watch: _Watch
    ) -> list[bytes]:
        counts = (await self._looking.seen()).overview.counts
        if not watch.is_due(counts):
            return watch.beat()
        began = asyncio.get_running_loop().time()
        text = str(await body(request, session))
        chart = await self._looking.chart() if "data-chart" in text else None
        watch.took(asyncio.get_running_loop().time() - began)
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
        self.pause_s = LOOK_S
        self._beat_at = float("-inf")

    def took(self, seconds: float) -> None:
        """How long it took to make the page: looking takes a small share of the time."""
        self.pause_s = min(_PAUSE_MAX_S, max(LOOK_S, seconds / _SHARE))

    def beat(self) -> list[bytes]:
        """Now and then a word that all is as it was: silence means that nobody is there."""
        now = asyncio.get_running_loop().time()
        if now - self._beat_at < _BEAT_S:
            return []
        self._beat_at = now
        return [format_sse_event(event="beat", data_str="1")]

    def away(self, why: str) -> bytes:
        """The event that says so; what comes back is shown whole, though it be the same."""
        self.text, self._counts = "", None
        return format_sse_event(event="away", data_str=why)

    def is_due(self, counts: object) -> bool:
        """Whether a page may look different by now."""
        now = asyncio.get_running_loop().time()
        if counts == self._counts and now - self._made_at < _ALL_THE_SAME_S:
            return False
        self._counts, self._made_at = counts, now
        return True
