"""`HttpClient` on httpx: pure Python, and whatever httpx can be given (transports, SOCKS)."""

from __future__ import annotations

import asyncio
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Final

import certifi
import httpx

from stopline_worker.upstream.reply import BODY_BYTES_MAX, CallErrorKind, NoReply, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopline_worker.upstream.http_client import Timeouts

ERROR_KINDS: Final[tuple[tuple[type[BaseException], CallErrorKind], ...]] = (
    # The first match counts: each class stands before its bases.
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
)
"""Every error that httpx or the socket can raise; a test walks their classes."""


_MERELY_WAITING: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


def kind_of(error: BaseException) -> CallErrorKind | None:
    """What kind of failed call an exception stands for, or None if it is no failed call."""
    for known, kind in ERROR_KINDS:
        if isinstance(error, known):
            return CallErrorKind.TLS if _is_of_tls(error) else kind
    return None


def _is_of_tls(error: BaseException) -> bool:
    """Whether TLS was what failed: of a failed connect, httpx tells it in the causes only."""
    if not isinstance(error, httpx.ConnectError):
        return False
    cause = error.__cause__
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None and not isinstance(cause, _MERELY_WAITING)


class HttpxClient:
    """One `httpx.AsyncClient` that does what it is told and nothing more.

    Args:
        timeouts: how long to wait.
        proxy: its address, with user and password where it wants them.
        transport: in place of httpx's own.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._total_s = timeouts.total_s
        self._client = httpx.AsyncClient(
            transport=transport,
            proxy=proxy,
            verify=_trusted(),
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=httpx.Timeout(timeouts.read_s, connect=timeouts.connect_s),
            # A connection for each call: what is left over of one reply, httpx would take for the
            # reply to the next call, and a target would be stopped which nobody stopped.
            # The engine bounds the calls at a time; a second bound would only make them wait.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply | NoReply:
        """Make one call."""
        whole = asyncio.timeout(self._total_s)
        try:
            async with whole, self._client.stream("GET", url, headers=headers) as response:
                return await _reply(response)
        except Exception as error:
            kind = kind_of(error)
            if kind is None:
                raise
            if whole.expired():
                return NoReply(kind, f"the whole call took longer than {self._total_s:g} s")
            return NoReply(kind, str(error) or type(error).__name__)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _trusted() -> ssl.SSLContext:
    """What the system trusts, or Mozilla's list on a system that has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))):
        context.load_verify_locations(certifi.where())
    return context


async def _reply(response: httpx.Response) -> Reply:
    body, too_large = await _read_capped(response)
    headers = response.headers
    return Reply(
        status=response.status_code,
        body=body,
        too_large=too_large,
        encoded=headers.get("content-encoding", "identity") != "identity",
        retry_after=headers.get("retry-after"),
        date=headers.get("date"),
    )


async def _read_capped(response: httpx.Response) -> tuple[bytes, bool]:
    if response.is_stream_consumed:  # a transport may give a reply that it has read
        return response.content[:BODY_BYTES_MAX], len(response.content) > BODY_BYTES_MAX
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return body[:BODY_BYTES_MAX], True
    return body, False
