"""`HttpClient` on reqwest, the Rust HTTP client (pyreqwest).

httpx's own transport scans its connections linearly and gives a tenth of the calls at 200
connections; aiohttp takes twice the CPU of this.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import certifi
from pyreqwest import exceptions
from pyreqwest.client import ClientBuilder
from pyreqwest.http import HeaderMap
from pyreqwest.proxy import ProxyBuilder

from stopline_worker.upstream.reply import BODY_BYTES_MAX, CallErrorKind, NoReply, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyreqwest.client import Client
    from pyreqwest.response import Response, ResponseBodyReader

    from stopline_worker.upstream.http_client import Timeouts

_UNREADABLE: Final = "?"
_CHUNK_BYTES: Final = BODY_BYTES_MAX + 1
_KEEPALIVE: Final = timedelta(seconds=15)

_CONNECTING: Final = "client error (Connect)"
_BY_CAUSE: Final = (
    # reqwest tells where it failed in its chain of causes only. The first match counts.
    ("tunnel error", CallErrorKind.PROXY),
    ("socks proxy", CallErrorKind.PROXY),
    ("certificate", CallErrorKind.TLS),
    ("handshake", CallErrorKind.TLS),
    (_CONNECTING, CallErrorKind.CONNECT),
    ("client error (SendRequest)", CallErrorKind.READ),
)
ERROR_KINDS: Final[tuple[tuple[type[BaseException], CallErrorKind], ...]] = (
    # The first match counts: each class stands before its bases.
    (exceptions.RequestTimeoutError, CallErrorKind.TIMEOUT),
    (exceptions.WriteError, CallErrorKind.WRITE),
    (exceptions.BodyDecodeError, CallErrorKind.READ),
    (exceptions.DecodeError, CallErrorKind.PROTOCOL),
    (exceptions.NetworkError, CallErrorKind.READ),
    (exceptions.PyreqwestError, CallErrorKind.PROTOCOL),
)
"""Every error that reqwest can raise; a test walks their classes."""


def kind_of(error: exceptions.PyreqwestError) -> CallErrorKind:
    """What kind of failed call an exception stands for."""
    if type(error) is exceptions.ConnectError:
        causes = _causes(error)
        for part, kind in _BY_CAUSE:
            if any(part in cause for cause in causes):
                return kind
    return next(kind for known, kind in ERROR_KINDS if isinstance(error, known))


def _causes(error: exceptions.PyreqwestError) -> list[str]:
    if not isinstance(error, exceptions.DetailedPyreqwestError):
        return []
    return [cause["message"] for cause in error.details["causes"] or ()]


class ReqwestClient:
    """One client of reqwest's that does what it is told and nothing more.

    Args:
        timeouts: how long to wait.
        proxy: its address, with user and password where it wants them.
    """

    def __init__(self, timeouts: Timeouts, *, proxy: str | None = None) -> None:
        def builder() -> ClientBuilder:
            new = (
                ClientBuilder()
                .http1_only()
                .no_proxy()
                .follow_redirects(enable=False)
                .referer(enable=False)
                .gzip(enable=False)
                .brotli(enable=False)
                .zstd(enable=False)
                .deflate(enable=False)
                .connect_timeout(timedelta(seconds=timeouts.connect_s))
                .read_timeout(timedelta(seconds=timeouts.read_s))
                .timeout(timedelta(seconds=timeouts.total_s))
                .pool_idle_timeout(_KEEPALIVE)
            )
            return new if proxy is None else new.proxy(ProxyBuilder.all(proxy))

        self._total_s = timeouts.total_s
        self._client: Client = _build(builder)
        self._given: Mapping[str, str] | None = None
        self._headers = HeaderMap()

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply | NoReply:
        """Make one call."""
        if headers is not self._given:
            self._given, self._headers = headers, HeaderMap(headers)
        began = time.monotonic()
        try:
            async with self._client.get(url).headers(self._headers).build_streamed() as response:
                return await _reply(response)
        except exceptions.PyreqwestError as error:
            return self._no_reply(error, time.monotonic() - began)

    def _no_reply(self, error: exceptions.PyreqwestError, took_s: float) -> NoReply:
        kind = kind_of(error)
        if kind is CallErrorKind.TIMEOUT and took_s >= self._total_s:
            return NoReply(kind, f"the whole call took longer than {self._total_s:g} s")
        causes = _causes(error)
        text = causes[-1] if causes else error.message
        return NoReply(kind, text or type(error).__name__)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _build(builder: Callable[[], ClientBuilder]) -> Client:
    """A client that trusts what the system trusts, or Mozilla's list on a system that has none."""
    try:
        return builder().build()
    except exceptions.BuilderError:
        return builder().add_root_certificate_pem(Path(certifi.where()).read_bytes()).build()


async def _reply(response: Response) -> Reply:
    body, too_large = await _read_capped(response.body_reader)
    headers = response.headers
    present = headers.keys()
    return Reply(
        status=response.status,
        body=body,
        too_large=too_large,
        encoded="content-encoding" in present and _value(headers, "content-encoding") != "identity",
        retry_after=_value(headers, "retry-after") if "retry-after" in present else None,
        date=_value(headers, "date") if "date" in present else None,
    )


async def _read_capped(reader: ResponseBodyReader) -> tuple[bytes, bool]:
    body = b""
    while (chunk := await reader.read(_CHUNK_BYTES)) is not None:
        body += bytes(chunk)
        if len(body) > BODY_BYTES_MAX:
            return body[:BODY_BYTES_MAX], True
    return body, False


def _value(headers: HeaderMap, name: str) -> str:
    """A header's value; servers write into headers what is no ASCII."""
    try:
        return headers[name]
    except ValueError:
        return _UNREADABLE
