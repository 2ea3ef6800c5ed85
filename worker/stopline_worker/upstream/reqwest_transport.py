"""httpx's transport interface on reqwest, the Rust HTTP client (pyreqwest).

httpx's own transport scans its connections linearly and gives a tenth of the calls at 200
connections; the aiohttp one takes twice the CPU of this. What pyreqwest itself ships for httpx
sums the timeouts up and calls a reply that never came a failed connect, so the mapping is ours.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import certifi
import httpx
from pyreqwest import exceptions
from pyreqwest.client import ClientBuilder
from pyreqwest.http import HeaderMap
from pyreqwest.proxy import ProxyBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pyreqwest.client import Client
    from pyreqwest.request import StreamRequest
    from pyreqwest.response import Response

_UNREADABLE: Final = "?"
CHUNK_BYTES: Final = 64 * 1024 + 1
_KEEPALIVE: Final = timedelta(seconds=15)


class CertificateError(httpx.ConnectError):
    """The server's certificate, or its side of TLS, was not acceptable."""


_CONNECTING: Final = "client error (Connect)"
_BY_CAUSE: Final[tuple[tuple[str, type[httpx.TransportError]], ...]] = (
    # reqwest tells where it failed in its chain of causes only. The first match counts.
    ("tunnel error", httpx.ProxyError),
    ("certificate", CertificateError),
    ("handshake", CertificateError),
    (_CONNECTING, httpx.ConnectError),
    ("client error (SendRequest)", httpx.ReadError),
)
_BY_TYPE: Final[tuple[tuple[type[BaseException], type[httpx.TransportError]], ...]] = (
    # The first match counts: each class stands before its bases.
    (exceptions.PoolTimeoutError, httpx.PoolTimeout),
    (exceptions.WriteTimeoutError, httpx.WriteTimeout),
    # It calls a head that does not come a connect timeout, too.
    (exceptions.RequestTimeoutError, httpx.ReadTimeout),
    (exceptions.WriteError, httpx.WriteError),
    (exceptions.BodyDecodeError, httpx.ReadError),
    (exceptions.DecodeError, httpx.RemoteProtocolError),
    (exceptions.NetworkError, httpx.ReadError),
    (exceptions.PyreqwestError, httpx.ProtocolError),
)


def as_httpx(error: exceptions.PyreqwestError) -> httpx.TransportError:
    """The error of httpx's that stands for one of reqwest's, with its innermost cause as text."""
    causes = _causes(error)
    text = causes[-1] if causes else error.message
    if type(error) is exceptions.ConnectTimeoutError and _CONNECTING in causes:
        return httpx.ConnectTimeout(text)
    if type(error) is exceptions.ConnectError:
        for part, kind in _BY_CAUSE:
            if any(part in cause for cause in causes):
                return kind(text)
    kinds = (kind for known, kind in _BY_TYPE if isinstance(error, known))
    return next(kinds, httpx.ProtocolError)(text)


def _causes(error: exceptions.PyreqwestError) -> list[str]:
    if not isinstance(error, exceptions.DetailedPyreqwestError):
        return []
    return [cause["message"] for cause in error.details["causes"] or ()]


class HttpTransport(httpx.AsyncBaseTransport):
    """Sends requests over kept connections: HTTP/1.1, no redirects, no cookies, no environment.

    Requests may share their headers (`httpx.Request.headers`), which then must not change.

    Args:
        connect_timeout_s: for making a connection.
        read_timeout_s: between two pieces of a reply.
        total_timeout_s: for all of a request and its reply.
        proxy: its address, with user and password where it wants them.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        total_timeout_s: float,
        proxy: str | None = None,
    ) -> None:
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
                .connect_timeout(timedelta(seconds=connect_timeout_s))
                .read_timeout(timedelta(seconds=read_timeout_s))
                .timeout(timedelta(seconds=total_timeout_s))
                .pool_idle_timeout(_KEEPALIVE)
            )
            return new if proxy is None else new.proxy(ProxyBuilder.all(proxy))

        self._client: Client = _build(builder)
        self._shared: tuple[httpx.Headers | None, HeaderMap] = (None, HeaderMap())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response's body is still to be read, and the response to be closed.

        Raises:
            httpx.TransportError: there is no reply.
        """
        call = (
            self._client.request(request.method, str(request.url))
            .headers(self._headers(request.headers))
            .build_streamed()
        )
        try:
            response = await call.__aenter__()  # it ends with the httpx response
        except exceptions.PyreqwestError as error:
            raise as_httpx(error) from error
        return httpx.Response(
            response.status, headers=_headers_of(response), stream=_Body(call, response)
        )

    def _headers(self, headers: httpx.Headers) -> HeaderMap:
        known, converted = self._shared
        if known is not headers:
            converted = HeaderMap(headers.multi_items())
            self._shared = headers, converted
        return converted

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _build(builder: Callable[[], ClientBuilder]) -> Client:
    """A client that trusts what the system trusts, or Mozilla's list on a system that has none."""
    try:
        return builder().build()
    except exceptions.BuilderError:
        return builder().add_root_certificate_pem(Path(certifi.where()).read_bytes()).build()


def _headers_of(response: Response) -> list[tuple[str, str]]:
    """The headers of a response, whatever their bytes: reqwest gives all of them or none."""
    try:
        return list(response.headers.items())
    except ValueError:  # one is no ASCII; servers write names and messages into headers
        names = dict.fromkeys(response.headers.keys())
        return [(name, value) for name in names for value in _values(response.headers, name)]


def _values(headers: HeaderMap, name: str) -> list[str]:
    try:
        return headers.getall(name)
    except ValueError:
        return [_UNREADABLE]


class _Body(httpx.AsyncByteStream):
    """A response's body as it comes."""

    def __init__(self, call: StreamRequest, response: Response) -> None:
        self._call = call
        self._reader = response.body_reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self._reader.read(CHUNK_BYTES)) is not None:
                yield bytes(chunk)
        except exceptions.PyreqwestError as error:
            raise as_httpx(error) from error

    async def aclose(self) -> None:
        await self._call.__aexit__(None, None, None)
