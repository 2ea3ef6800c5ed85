"""What can go wrong between two sockets, as httpx's exceptions. Real connections on loopback."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from stopline_worker.upstream.reqwest_transport import CertificateError, HttpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def _transport(*, proxy: str | None = None, total_s: float = 5.0) -> HttpTransport:
    return HttpTransport(
        connect_timeout_s=5, read_timeout_s=min(5.0, total_s), total_timeout_s=total_s, proxy=proxy
    )


def _answering(raw: bytes, *, then: str = "close") -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
            if then == "hang":
                await reader.read()
            elif then == "close":
                writer.close()
                await writer.wait_closed()

    return answer


@asynccontextmanager
async def _server(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    answering: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.transport.abort()

    def take_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(take_in, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close in the loop's next round


async def _get(transport: HttpTransport, url: str) -> tuple[httpx.Response, bytes]:
    try:
        response = await transport.handle_async_request(httpx.Request("GET", url))
        try:
            return response, await response.aread()
        finally:
            await response.aclose()
    finally:
        await transport.aclose()


def _ask(answer: Answer, *, total_s: float = 5.0) -> tuple[httpx.Response, bytes]:
    async def ask() -> tuple[httpx.Response, bytes]:
        async with _server(answer) as port:
            return await _get(_transport(total_s=total_s), f"http://127.0.0.1:{port}/x")

    return asyncio.run(ask())


def test_status_headers_and_body_come_through() -> None:
    response, body = _ask(
        _answering(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\nabc")
    )
    assert (response.status_code, response.headers["retry-after"], body) == (429, "7", b"abc")


def test_a_redirect_is_not_followed() -> None:
    response, _ = _ask(
        _answering(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
        )
    )
    assert response.status_code == 302


def test_an_encoded_body_is_left_encoded() -> None:
    response, body = _ask(
        _answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}")
    )
    assert (response.headers["content-encoding"], response.status_code) == ("br", 200)
    assert body == b"{}"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(_answering(b"", then="reset"), httpx.ReadError, id="reset"),
        pytest.param(_answering(b""), httpx.ReadError, id="closed"),
        pytest.param(_answering(b"hello\r\n\r\n"), httpx.RemoteProtocolError, id="no HTTP"),
        pytest.param(
            _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"),
            httpx.ReadError,
            id="body cut off",
        ),
        pytest.param(
            _answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            httpx.ReadError,
            id="bad chunk",
        ),
        pytest.param(
            _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
            httpx.RemoteProtocolError,
            id="two lengths",
        ),
    ],
)
def test_a_bad_reply_is_an_error_of_its_kind(answer: Answer, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        _ask(answer)
    assert type(raised.value) is error
    assert str(raised.value)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="no head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", id="half a body"),
    ],
)
def test_a_reply_that_does_not_come_is_a_read_timeout(raw: bytes) -> None:
    with pytest.raises(httpx.ReadTimeout):
        _ask(_answering(raw, then="hang"), total_s=0.3)


def test_a_reply_that_drips_is_over_at_the_total_timeout() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)

    with pytest.raises(httpx.ReadTimeout):
        _ask(drip, total_s=0.4)


def test_a_refused_connection_is_a_connect_error() -> None:
    with pytest.raises(httpx.ConnectError, match="refused"):
        asyncio.run(_get(_transport(), "http://127.0.0.1:1/"))


def test_a_proxy_that_refuses_is_a_proxy_error_and_the_environment_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ask() -> None:
        async with _server(_answering(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")) as port:
            await _get(_transport(proxy=f"http://127.0.0.1:{port}"), "https://127.0.0.1:1/")

    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(httpx.ProxyError, match="authorization required"):
        asyncio.run(ask())


def test_a_cancelled_request_ends_its_connection() -> None:
    """The engine takes calls off the wire whose lease is lost."""

    async def ask() -> bytes:
        ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        begun = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            begun.set()
            ended.set_result(await reader.read())

        async with _server(answer) as port:
            transport = _transport(total_s=60)
            request = httpx.Request("GET", f"http://127.0.0.1:{port}/")
            call = asyncio.create_task(transport.handle_async_request(request))
            await begun.wait()
            call.cancel()
            async with asyncio.timeout(10):
                return await ended

    assert asyncio.run(ask()) == b""


def _tls() -> tuple[trustme.CA, ssl.SSLContext]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return authority, context


async def _ask_over_tls(context: ssl.SSLContext) -> bytes:
    async with _server(_answering(GOOD), context) as port:
        return (await _get(_transport(), f"https://127.0.0.1:{port}/"))[1]


def test_a_system_without_certificates_trusts_mozillas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare container has none, and must not keep the worker from starting."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    assert _ask(_answering(GOOD))[1] == b"{}"
    with pytest.raises(CertificateError, match="UnknownIssuer"):
        asyncio.run(_ask_over_tls(_tls()[1]))


def test_a_certificate_of_nobody_we_know_is_a_certificate_error() -> None:
    with pytest.raises(CertificateError, match="certificate"):
        asyncio.run(_ask_over_tls(_tls()[1]))


def test_certificates_are_trusted_as_ssl_cert_file_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority, context = _tls()
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    file.write_bytes(authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert asyncio.run(_ask_over_tls(context)) == b"{}"


@pytest.mark.parametrize("value", ["成功".encode(), b"\xff\xfe", "caf\xe9".encode("latin-1")])
def test_a_header_that_is_no_ascii_spoils_no_reply(value: bytes) -> None:
    """A confirmed stop was once never stopped, since a server told its message in a header."""
    raw = (
        b"HTTP/1.1 200 OK\r\nX-Message: %s\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}" % value
    )

    async def ask() -> httpx.Response:
        transport = _transport()
        async with _server(_answering(raw)) as port:
            response = await transport.handle_async_request(
                httpx.Request("GET", f"http://127.0.0.1:{port}/")
            )
            await response.aread()
            await response.aclose()
        await transport.aclose()
        return response

    response = asyncio.run(ask())
    assert (response.status_code, response.content) == (200, b"{}")
    assert response.headers["retry-after"] == "3"
