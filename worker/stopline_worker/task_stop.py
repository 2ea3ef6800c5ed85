"""The `task_stop` call: request in, `Reply` or `NoReply` out; no exception of HTTP gets past here.

`httpx` on the aiohttp transport: httpx's own pool scans its connections linearly and gives a tenth
of the calls at 200 connections. The transport is used directly, without `httpx.AsyncClient`, so
there is nothing that follows redirects, keeps cookies or reads proxies from the environment.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from stopline_worker.verdict import BODY_BYTES_MAX, CallErrorKind, NoReply, Reply

if TYPE_CHECKING:
    from stopline.settings import Settings
    from stopline_worker.api_token import ApiToken

_ERROR_CHARACTERS_MAX: Final = 200
_KEEPALIVE_S: Final = 15.0

ERROR_KINDS: Final[tuple[tuple[type[BaseException], CallErrorKind], ...]] = (
    # The first match counts: each class stands before its bases.
    (aiohttp.ServerTimeoutError, CallErrorKind.TIMEOUT),
    (aiohttp.ClientConnectorCertificateError, CallErrorKind.TLS),
    (aiohttp.ClientSSLError, CallErrorKind.TLS),
    (aiohttp.ServerFingerprintMismatch, CallErrorKind.TLS),
    (aiohttp.ClientProxyConnectionError, CallErrorKind.PROXY),
    (aiohttp.ClientHttpProxyError, CallErrorKind.PROXY),
    (aiohttp.ClientConnectorError, CallErrorKind.CONNECT),
    (aiohttp.ClientPayloadError, CallErrorKind.READ),
    (aiohttp.ServerConnectionError, CallErrorKind.READ),
    (aiohttp.ClientConnectionResetError, CallErrorKind.READ),
    (aiohttp.ClientOSError, CallErrorKind.READ),
    (aiohttp.ClientConnectionError, CallErrorKind.CONNECT),
    (aiohttp.ClientError, CallErrorKind.PROTOCOL),
    (httpx.TimeoutException, CallErrorKind.TIMEOUT),
    (httpx.ConnectError, CallErrorKind.CONNECT),
    (httpx.WriteError, CallErrorKind.WRITE),
    (httpx.NetworkError, CallErrorKind.READ),
    (httpx.ProxyError, CallErrorKind.PROXY),
    (httpx.HTTPError, CallErrorKind.PROTOCOL),
    (httpx.InvalidURL, CallErrorKind.PROTOCOL),
    (httpx.StreamError, CallErrorKind.PROTOCOL),
    (httpx.CookieConflict, CallErrorKind.PROTOCOL),
    (TimeoutError, CallErrorKind.TIMEOUT),
    (ssl.SSLError, CallErrorKind.TLS),
    (OSError, CallErrorKind.CONNECT),
    (aiohttp.http_exceptions.HttpProcessingError, CallErrorKind.PROTOCOL),
)
"""Every error that aiohttp, httpx or the socket can raise; a test walks their classes.

httpx-aiohttp maps only some, and a server that hangs up to a connect timeout, so the error below
(`__cause__`) decides where there is one.
"""


def kind_of(error: BaseException) -> CallErrorKind | None:
    """What kind of failed call an exception stands for, or None if it is no failed call."""
    for candidate in (error.__cause__, error):
        for known, kind in ERROR_KINDS:
            if isinstance(candidate, known):
                return kind
    return None


class TaskStopApi:
    """Calls the upstream. One per event loop; `close()` it."""

    def __init__(self, settings: Settings, token: ApiToken) -> None:
        self._base = str(settings.api_url).rstrip("/")
        self._token = token
        self._call_timeout_s = settings.call_timeout_s
        self._extensions = {
            "timeout": {
                "connect": settings.connect_timeout_s,
                "read": settings.read_timeout_s,
                "write": settings.read_timeout_s,
                # A slot of the engine is a connection of the pool: nobody waits for one.
                "pool": None,
            }
        }
        proxy = settings.api_proxy
        self._transport = AiohttpTransport(
            client=_new_session,
            proxy=httpx.Proxy(proxy.get_secret_value()) if proxy else None,
        )

    async def call(self, target: str) -> Reply | NoReply:
        """Make one call. Takes at most the call timeout, however the reply comes."""
        try:
            async with asyncio.timeout(self._call_timeout_s):
                return await self._exchange(self._request(target))
        except Exception as error:
            kind = kind_of(error)
            if kind is None:
                raise
            return NoReply(kind, self._describe(error, kind))

    def _request(self, target: str) -> httpx.Request:
        user_id, task_id, *sub_user_id = (quote(part, safe="") for part in target.split("/"))
        query = f"?sub_user_id={sub_user_id[0]}" if sub_user_id else ""
        return httpx.Request(
            "GET",
            f"{self._base}/agent-api/user/{user_id}/task_stop/{task_id}{query}",
            headers={
                "Authorization": self._token.authorization(),
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "stopline",
            },
            extensions=self._extensions,
        )

    async def _exchange(self, request: httpx.Request) -> Reply:
        response = await self._transport.handle_async_request(request)
        try:
            body, too_large = await _read_capped(response)
        finally:
            await response.aclose()
        headers = response.headers
        return Reply(
            status=response.status_code,
            body=self._redacted(body),
            too_large=too_large,
            encoded=headers.get("content-encoding", "identity") != "identity",
            retry_after=headers.get("retry-after"),
            date=headers.get("date"),
        )

    def _redacted(self, body: bytes) -> bytes:
        return self._token.redact(body.decode("utf-8", "replace")).encode()

    def _describe(self, error: BaseException, kind: CallErrorKind) -> str:
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
            return f"the whole call took longer than {self._call_timeout_s:g} s"
        text = str(error) or ("the connection ended" if kind is CallErrorKind.READ else "")
        cause = error.__cause__ or error
        described = f"{type(cause).__name__}: {text}" if text else type(cause).__name__
        return self._token.redact(described)[:_ERROR_CHARACTERS_MAX]

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


async def _read_capped(response: httpx.Response) -> tuple[bytes, bool]:
    chunks, size = [], 0
    async for chunk in response.aiter_raw():
        chunks.append(chunk)
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            return b"".join(chunks)[:BODY_BYTES_MAX], True
    return b"".join(chunks), False


def _new_session() -> aiohttp.ClientSession:
    """The session under the transport: as many connections as the engine has slots, no memory."""
    connector = aiohttp.TCPConnector(
        limit=0,  # the engine's slots are the limit
        keepalive_timeout=_KEEPALIVE_S,
        ssl=httpx.create_ssl_context(),
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
    # aiohttp sends an idempotent request again, unasked, when a kept connection turns out to be
    # closed. Each call is one attempt in the record, so a second one is the engine's to make.
    session._retry_connection = False  # noqa: SLF001  # there is no public switch (aiohttp 3.14)
    return session
