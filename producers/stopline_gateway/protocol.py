"""HTTP/1.1 on the wire: uvicorn's protocol, with limits for heads, which it has none for.

A head that never ends, or comes a byte a minute, holds a connection and memory (slowloris). Neither
httptools nor uvicorn bound it: their `h11_max_incomplete_event_size` is for h11 alone, and
`timeout_keep_alive` counts between requests only.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stopline_gateway.problems import MEDIA_TYPE, Kind, Problem, retry_after

if TYPE_CHECKING:
    import asyncio

    from stopline_gateway.settings import GatewaySettings


_UNTOLD_HEADS: Final = 2
"""A head of the allowed size may come in pieces, of which httptools tells none."""
_PIPELINED_MAX: Final = 16
"""Requests of one connection that wait for the replies to those before them."""
_UPGRADE: Final = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)
_PASSED_OVER: Final = b"\r\nx-grade"


def _without_upgrade(data: bytes, before: bytes) -> bytes:
    """A head without the wish for another protocol, which a server may pass over (RFC 9110 §7.8).

    Java's client sends one with every first request (`Upgrade: h2c`), and httptools then leaves the
    body out. No byte is added and none behind the head is touched.

    Args:
        data: what came.
        before: the last bytes of the head before that: its end may lie across the two.
    """
    if b"grade" not in data and b"GRADE" not in data:
        return data
    end = (before + data).find(b"\r\n\r\n")
    cut = len(data) if end < 0 else max(0, end - len(before))
    return _UPGRADE.sub(_PASSED_OVER, data[:cut]) + data[cut:]


class _Part(Enum):
    """What of a request comes next."""

    NONE = auto()
    HEAD = auto()
    BODY = auto()


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `bounded` makes the class that uvicorn is given."""

    head_bytes_max: ClassVar[int]
    silence_s: ClassVar[float]
    connections_max: ClassVar[int]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._part = _Part.NONE
        self._head_bytes = 0
        self._untold_bytes = 0
        self._tail = b""
        self._unread_timer: asyncio.TimerHandle | None = None
        self._is_told = False
        """Whether the last bytes ended a head or were of a body."""
        self._head_timer: asyncio.TimerHandle | None = None

    @classmethod
    def bounded(cls, settings: GatewaySettings) -> type[GuardedProtocol]:
        """The protocol with the limits of some settings."""
        limits = {
            name: getattr(settings, name)
            for name in ("head_bytes_max", "silence_s", "connections_max")
        }
        return type("BoundedProtocol", (cls,), limits)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes; bounded as long as they are no body that somebody reads."""
        self._is_told = False
        is_head = self._part is not _Part.BODY
        if is_head:
            before, self._tail = self._tail, (self._tail + data)[-3:]
            data = _without_upgrade(data, before)
        super().data_received(data)
        if self._is_in_hands:
            self._stop_timer()
        else:
            self._start_timer()
        if not self._is_told:
            # What httptools holds back, of a head or behind a body.
            self._untold_bytes += len(data)
        if self._untold_bytes > _UNTOLD_HEADS * self.head_bytes_max:
            self._refuse_head()

    @property
    def _is_in_hands(self) -> bool:
        """Whether the app is at work on a request, or reads its body."""
        is_whole = self._part is not _Part.HEAD
        return is_whole and self.cycle is not None and not self.cycle.response_complete

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._part, self._head_bytes, self._untold_bytes = _Part.HEAD, 0, 0

    def on_url(self, url: bytes) -> None:
        """The target of the request line."""
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; behind a chunked body it is a trailer, which nobody reads."""
        self._head_bytes += len(name) + len(value) + 4
        if self._part is _Part.HEAD:
            super().on_header(name, value)
        elif self._head_bytes > self.head_bytes_max:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._part, self._untold_bytes, self._is_told = _Part.BODY, 0, True
        self._tail = b""
        if self.transport.is_closing():
            return
        if self.parser.should_upgrade():
            self._refuse(Kind.MALFORMED, "There is no other protocol here: leave Upgrade out.")
        elif len(self.pipeline) >= _PIPELINED_MAX:
            self.transport.close()
        elif self._head_bytes > self.head_bytes_max:
            self._refuse_head()
        elif len(self.connections) > self.connections_max:
            self._refuse(Kind.BUSY, "Too many connections are open here.", retry_after(1))
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of a body; none where its head was refused."""
        self._untold_bytes, self._is_told = 0, True
        if self.cycle is not None and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A body has ended."""
        self._part, self._is_told = _Part.NONE, True
        if self.cycle is not None and not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """A reply was sent; the rest of a body that nobody read has a time limit."""
        super().on_response_complete()
        if self._part is _Part.BODY:
            self._start_timer()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's answer to what is no HTTP, as a problem document."""
        self._refuse(Kind.MALFORMED, msg)

    def _refuse_head(self) -> None:
        self._refuse(Kind.HEAD, f"At most {self.head_bytes_max} bytes are taken.")

    @property
    def _may_answer(self) -> bool:
        """Whether nobody else answers: an error must not stand for a request that is at work."""
        one = self.cycle
        if one is None or one.response_complete:
            return True
        return self._part is _Part.BODY and not self.pipeline and not one.response_started

    def pause_writing(self) -> None:
        """Somebody does not read what was written for them."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self.silence_s, self.transport.abort)

    def resume_writing(self) -> None:
        """They read again."""
        super().resume_writing()
        self._stop_unread_timer()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.silence_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._part is _Part.HEAD:
            self._refuse(Kind.TOO_SLOW, f"No whole head came in {self.silence_s:g} s.")
        else:
            self.transport.close()

    def _refuse(self, kind: Kind, detail: str, headers: dict[str, str] | None = None) -> None:
        if self.transport.is_closing():
            return
        if self._may_answer:
            self.transport.write(_written(Problem(kind, detail, headers=headers)))
        self.transport.close()


def _written(problem: Problem) -> bytes:
    """A problem document as it is on the wire."""
    body, told = orjson.dumps(problem.document()), problem.kind.value
    fields = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "connection": "close",
        **problem.headers,
    }
    head = [f"HTTP/1.1 {told.status} {told.title.rstrip('.')}"]
    head += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*head, "", ""]).encode() + body
