"""The `task_stop` call: request in, `Reply` or `NoReply` out; no exception of HTTP gets past here.

The transport is used directly, without `httpx.AsyncClient`, so there is nothing that follows
redirects, keeps cookies or reads proxies from the environment. Requests are copies of a template:
building each anew from text took longer than sending it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import httpx

from stopline_worker.upstream.reqwest_transport import CertificateError, HttpTransport
from stopline_worker.upstream.verdict import BODY_BYTES_MAX, CallErrorKind, NoReply, Reply

if TYPE_CHECKING:
    from stopline.contract import Target
    from stopline.settings.model import Settings
    from stopline_worker.upstream.api_token import Credential

_ERROR_CHARACTERS_MAX: Final = 200

ERROR_KINDS: Final[tuple[tuple[type[BaseException], CallErrorKind], ...]] = (
    # The first match counts: each class stands before its bases.
    (httpx.TimeoutException, CallErrorKind.TIMEOUT),
    (CertificateError, CallErrorKind.TLS),
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


def kind_of(error: BaseException) -> CallErrorKind | None:
    """What kind of failed call an exception stands for, or None if it is no failed call."""
    for known, kind in ERROR_KINDS:
        if isinstance(error, known):
            return kind
    return None


class TaskStopApi:
    """Calls the upstream. One per event loop; `close()` it."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._call_timeout_s = settings.call_timeout_s
        proxy = settings.api_proxy
        self._transport = transport or HttpTransport(
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            total_timeout_s=settings.call_timeout_s,
            proxy=proxy.get_secret_value() if proxy else None,
        )
        self._requests = _Requests(str(settings.api_url))

    async def call(self, target: Target, credential: Credential) -> Reply | NoReply:
        """Make one call. The transport bounds how long it takes, however the reply comes."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._exchange(self._requests.make(target, credential.authorization))
        except Exception as error:
            kind = kind_of(error)
            if kind is None:
                raise
            took_too_long = loop.time() - began >= self._call_timeout_s
            described = self._describe(error, kind, took_too_long=took_too_long)
            return NoReply(kind, credential.redact(described)[:_ERROR_CHARACTERS_MAX])

    async def _exchange(self, request: httpx.Request) -> Reply:
        response = await self._transport.handle_async_request(request)
        try:
            body, too_large = await _read_capped(response)
        finally:
            await response.aclose()
        headers = response.headers
        # One look at them all is cheaper than one of httpx's for each.
        present = {name.lower() for name, _ in headers.raw}
        return Reply(
            status=response.status_code,
            body=body,
            too_large=too_large,
            encoded=b"content-encoding" in present and headers["content-encoding"] != "identity",
            retry_after=headers["retry-after"] if b"retry-after" in present else None,
            date=headers["date"] if b"date" in present else None,
        )

    def _describe(self, error: Exception, kind: CallErrorKind, *, took_too_long: bool) -> str:
        if kind is CallErrorKind.TIMEOUT and took_too_long:
            return f"the whole call took longer than {self._call_timeout_s:g} s"
        text = str(error) or ("the connection ended" if kind is CallErrorKind.READ else "")
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class _Requests:
    """Makes requests that differ in their target only.

    Targets hold only characters that a URL may hold as they are (`contract.Identifier`), so the
    path needs no quoting, and neither URL nor headers have to be parsed for each call.
    """

    def __init__(self, base: str) -> None:
        self._base = httpx.URL(base.rstrip("/") + "/")
        self._authorization: str | None = None
        self._template: httpx.Request

    def make(self, target: Target, authorization: str) -> httpx.Request:
        """The request of one call."""
        if authorization != self._authorization:
            self._template = self._new_template(authorization)
            self._authorization = authorization
        request = httpx.Request.__new__(httpx.Request)
        request.__dict__.update(self._template.__dict__)
        request.url = self._url(target)
        return request

    def _new_template(self, authorization: str) -> httpx.Request:
        return httpx.Request(
            "GET",
            self._base,
            headers={
                "Authorization": authorization,
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "stopline",
            },
        )

    def _url(self, target: Target) -> httpx.URL:
        user_id, task_id, sub_user_id = target
        # copy_with() would parse the whole URL again; a test compares these with parsed ones.
        scheme, userinfo, host, port, path, *_ = self._base._uri_reference  # noqa: SLF001
        url = httpx.URL.__new__(httpx.URL)
        url._uri_reference = type(self._base._uri_reference)(  # noqa: SLF001
            scheme,
            userinfo,
            host,
            port,
            f"{path}agent-api/user/{user_id}/task_stop/{task_id}",
            f"sub_user_id={sub_user_id}" if sub_user_id else None,
            None,
        )
        return url


async def _read_capped(response: httpx.Response) -> tuple[bytes, bool]:
    body = b""
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101  # as every async transport gives
    async for chunk in response.stream:
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return body[:BODY_BYTES_MAX], True
    return body, False
