"""Header fields: those that every reply has, and requests whose own say two things at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ONCE: Final = frozenset(
    {b"host", b"content-length", b"content-encoding", b"transfer-encoding", b"last-event-id"}
)
"""Of these a proxy may read the first and a server the last. (Others are looked at by who reads
them.)"""
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)


class Heads:
    """Middleware around everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", ())
                names = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(one for one in _ALWAYS if one[0] not in names)]
            await send(message)

        if any(
            name == b"transfer-encoding" and value.strip().lower() != b"chunked"
            for name, value in scope["headers"]
        ):
            detail = "Compressed bodies are not taken: send it as it is."
            problem = Problem(Kind.MEDIA_TYPE, detail, headers={"Connection": "close"})
            await problem.response()(scope, receive, send_with_head)
            return
        twice = _twice(scope)
        if twice is not None:
            detail = f"The header field {twice} is there more than once."
            problem = Problem(Kind.MALFORMED, detail, headers={"Connection": "close"})
            await problem.response()(scope, receive, send_with_head)
            return
        await self._app(scope, receive, send_with_head)


def _twice(scope: Scope) -> str | None:
    names: Counter[bytes] = Counter(name for name, _ in scope["headers"] if name in _ONCE)
    return next((name.decode() for name, times in names.items() if times > 1), None)
