"""Both HTTP clients keep one contract, whatever happens between two sockets on loopback."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from stopline_worker.upstream.http_client import Timeouts
from stopline_worker.upstream.httpx_client import HttpxClient
from stopline_worker.upstream.reply import BODY_BYTES_MAX, CallErrorKind, NoReply, Reply
from tests.support.http_server import (
    GOOD,
    HEADERS,
    TIMEOUTS,
    answering,
    ask_with,
    error_kind,
    get,
    serving,
)

if TYPE_CHECKING:
    from tests.support.http_server import Answer, Make


def test_status_headers_and_body_come_through(make: Make) -> None:
    raw = (
        b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nDate: Wed, 25 Nov 2026 16:00:00 GMT\r\n"
        b"Content-Length: 3\r\n\r\nabc"
    )
    reply = ask_with(make, answering(raw))
    date = "Wed, 25 Nov 2026 16:00:00 GMT"
    assert reply == Reply(429, b"abc", retry_after="7", date=date)


def test_a_body_is_read_up_to_a_cap(make: Make) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    whole = ask_with(make, answering(head % BODY_BYTES_MAX + b"x" * BODY_BYTES_MAX))
    assert whole == Reply(200, b"x" * BODY_BYTES_MAX)
    cut = ask_with(make, answering(head % 300_000 + b"x" * 300_000))
    assert cut == Reply(200, b"x" * BODY_BYTES_MAX, too_large=True)


def test_a_redirect_is_not_followed(make: Make) -> None:
    raw = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    assert ask_with(make, answering(raw)) == Reply(302)


@pytest.mark.parametrize("encoding", ["br", "gzip", "identity"])
def test_an_encoded_body_is_left_encoded(make: Make, encoding: str) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: 2\r\n\r\n{}"
    reply = ask_with(make, answering(raw % encoding.encode()))
    assert reply == Reply(200, b"{}", encoded=encoding != "identity")


@pytest.mark.parametrize("surplus", [GOOD, b"\r\n", b"junk"])
def test_what_a_reply_has_too_much_is_no_reply_to_the_next_call(make: Make, surplus: bytes) -> None:
    """Taken for one, it would say of a target that it is stopped which nobody stopped."""
    calls = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        with suppress(OSError, EOFError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                calls += 1
                first = calls == 1
                writer.write(GOOD + surplus if first else GOOD.replace(b"200 OK", b"404 No"))
                await writer.drain()

    async def ask() -> list[Reply | NoReply]:
        client = make(TIMEOUTS)
        async with serving(answer) as port:
            found = [await client.get(f"http://127.0.0.1:{port}/{n}", HEADERS) for n in range(2)]
            await client.close()
            return found

    assert asyncio.run(ask()) == [Reply(200, b"{}"), Reply(404, b"{}")]


def test_it_sends_what_it_is_told_and_keeps_no_cookies(make: Make) -> None:
    received: list[list[str]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            received.append(head.decode().lower().split("\r\n"))
            writer.write(GOOD.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"))
            await writer.drain()

    async def ask() -> None:
        client = make(TIMEOUTS)
        async with serving(answer) as port:
            url = f"http://127.0.0.1:{port}/base/a~b?sub_user_id=s_2"
            first, second = [await client.get(url, HEADERS) for _ in range(2)]
            await client.close()
            assert first == second == Reply(200, b"{}")

    asyncio.run(ask())
    for line, *fields in received:  # both came on one connection
        assert line == "get /base/a~b?sub_user_id=s_2 http/1.1"
        sent = [field.partition(": ")[::2] for field in fields if field]
        names = [name for name, _ in sent]
        assert len(names) == len(set(names))
        assert "cookie" not in names
        assert {name.lower(): value.lower() for name, value in HEADERS.items()}.items() <= set(sent)


_ENDED = {CallErrorKind.READ, CallErrorKind.PROTOCOL}
"""httpx calls a reply that ends too early an error of protocol."""


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        pytest.param(answering(b"", then="reset"), _ENDED, id="reset"),
        pytest.param(answering(b""), _ENDED, id="closed"),
        pytest.param(answering(b"hello\r\n\r\n"), {CallErrorKind.PROTOCOL}, id="no HTTP"),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"),
            _ENDED,
            id="body cut off",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            _ENDED,
            id="bad chunk",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
            {CallErrorKind.PROTOCOL},
            id="two lengths",
        ),
    ],
)
def test_a_bad_reply_is_an_error_of_its_kind(
    make: Make, answer: Answer, kinds: set[CallErrorKind]
) -> None:
    assert error_kind(ask_with(make, answer)) in kinds


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="no head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", id="half a body"),
    ],
)
def test_a_reply_that_does_not_come_is_a_timeout(make: Make, raw: bytes) -> None:
    assert (
        error_kind(ask_with(make, answering(raw, then="hang"), total_s=0.3))
        is CallErrorKind.TIMEOUT
    )


def test_a_reply_that_drips_is_over_at_the_total_timeout(make: Make) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)

    result = ask_with(make, drip, total_s=0.4)
    assert result == NoReply(CallErrorKind.TIMEOUT, "the whole call took longer than 0.4 s")


def test_a_refused_connection_is_a_connect_error(make: Make) -> None:
    result = asyncio.run(get(make(TIMEOUTS), "http://127.0.0.1:1/"))
    assert error_kind(result) is CallErrorKind.CONNECT


def test_a_proxy_that_refuses_is_a_proxy_error_and_the_environment_has_none(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> Reply | NoReply:
        async with serving(answering(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")) as port:
            client = make(TIMEOUTS, proxy=f"http://127.0.0.1:{port}")
            return await get(client, "https://127.0.0.1:1/")

    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert error_kind(asyncio.run(ask())) is CallErrorKind.PROXY
    assert ask_with(make, answering(GOOD)) == Reply(200, b"{}")


async def _speak_socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """SOCKS 5 without a password (RFC 1928), and the other side's answer at once."""
    _, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(b"\x05\x00")
    *_, kind = await reader.readexactly(4)
    assert kind == 1  # an IPv4 address
    await reader.readexactly(6)
    writer.write(b"\x05\x00\x00\x01" + bytes(6))
    await reader.readuntil(b"\r\n\r\n")
    writer.write(GOOD)
    await writer.drain()


def test_it_calls_through_a_socks_proxy(make: Make) -> None:
    async def ask() -> Reply | NoReply:
        async with serving(_speak_socks) as port:
            client = make(TIMEOUTS, proxy=f"socks5://127.0.0.1:{port}")
            return await get(client, "http://127.0.0.1:1/")

    assert asyncio.run(ask()) == Reply(200, b"{}")


def test_a_cancelled_call_is_over_at_once_and_its_connection_in_time(make: Make) -> None:
    """The engine gives calls up whose lease is lost. reqwest leaves the rest to its timeouts."""

    async def ask() -> bytes:
        ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        begun = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            begun.set()
            ended.set_result(await reader.read())

        async with serving(answer) as port:
            client = make(Timeouts(connect_s=1, read_s=1, total_s=1))
            call = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/", HEADERS))
            await begun.wait()
            call.cancel()
            await asyncio.wait([call])
            async with asyncio.timeout(10):
                rest = await ended
            await client.close()
            return rest

    assert asyncio.run(ask()) == b""


def test_a_connection_that_was_closed_is_no_second_request(make: Make) -> None:
    """A client that sends it again by itself makes a call that no record has."""

    async def ask() -> tuple[int, list[Reply | NoReply]]:
        requests = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal requests
            with suppress(EOFError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    requests += 1
                    if requests == 2:
                        break
                    writer.write(GOOD)
            writer.transport.abort()

        client = make(TIMEOUTS)
        async with serving(answer) as port:
            url = f"http://127.0.0.1:{port}/"
            results = [await client.get(url, HEADERS) for _ in range(2)]
        await client.close()
        return requests, results

    requests, results = asyncio.run(ask())
    assert requests == 2
    assert error_kind(results[1]) in _ENDED


@pytest.mark.parametrize("value", ["成功".encode(), b"\xff\xfe", "caf\xe9".encode("latin-1")])
def test_a_header_that_is_no_ascii_spoils_no_reply(make: Make, value: bytes) -> None:
    """A confirmed stop was once never stopped, since a server told its message in a header."""
    raw = (
        b"HTTP/1.1 200 OK\r\nX-Message: %s\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}" % value
    )
    assert ask_with(make, answering(raw)) == Reply(200, b"{}", retry_after="3")
    date = b"HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 2\r\n\r\n{}" % value
    reply = ask_with(make, answering(date))
    assert isinstance(reply, Reply)
    assert reply.body == b"{}"


def test_httpx_may_be_given_a_transport() -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=b"{}"))
    client = HttpxClient(TIMEOUTS, transport=transport)
    assert asyncio.run(get(client, "http://nowhere.example/")) == Reply(200, b"{}")
