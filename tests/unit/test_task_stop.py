"""The request is as the API wants it, and every error of httpx ends as a `NoReply`."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from stopline.contract import Target
from stopline.settings.model import Settings
from stopline_worker.upstream.api_token import Credential
from stopline_worker.upstream.task_stop import ERROR_KINDS, TaskStopApi, kind_of
from stopline_worker.upstream.verdict import CallErrorKind, NoReply

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0ken"
CREDENTIAL = Credential(TOKEN)


def _errors(module: object) -> Iterator[type[BaseException]]:
    for _, one in inspect.getmembers(module, inspect.isclass):
        if issubclass(one, Exception) and not issubclass(one, Warning):
            yield one


def _made(kind: type[BaseException]) -> BaseException:
    """An instance, without calling constructors that want whole requests."""
    return kind.__new__(kind)


@pytest.mark.parametrize(
    "kind", [*_errors(httpx), ssl.SSLError, ConnectionResetError, TimeoutError, OSError]
)
def test_every_error_is_mapped(kind: type[BaseException]) -> None:
    assert kind_of(_made(kind)) is not None


@pytest.mark.parametrize("kind", [KeyError, TypeError, RuntimeError])
def test_a_fault_of_our_own_is_not(kind: type[BaseException]) -> None:
    assert kind_of(kind()) is None


def test_no_class_stands_behind_its_base() -> None:
    for index, (kind, _) in enumerate(ERROR_KINDS):
        for earlier, _ in ERROR_KINDS[:index]:
            assert not issubclass(kind, earlier), f"{kind} is never reached"


@pytest.mark.parametrize("base", ["https://api.example", "http://127.0.0.1:8900/some/base/"])
@pytest.mark.parametrize("target", ["5832d184/f232d184", "us.er/t~1/s_2", "a/b/c"])
def test_requests_made_from_the_template_are_as_httpx_makes_them(base: str, target: str) -> None:
    """The template spares httpx's parser, which takes longer than the call."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={})

    api = TaskStopApi(
        Settings.load(api_url=base, api_token=TOKEN),
        transport=httpx.MockTransport(answer),
    )
    asyncio.run(api.call(Target.parse(target), CREDENTIAL))
    user_id, task_id, *sub_user_id = target.split("/")
    url = f"{base.rstrip('/')}/agent-api/user/{user_id}/task_stop/{task_id}"
    expected = httpx.Request(
        "GET", url, params={"sub_user_id": sub_user_id[0]} if sub_user_id else None
    )
    assert sent[0].url == expected.url
    assert str(sent[0].url) == str(expected.url)
    assert sent[0].url.raw_path == expected.url.raw_path
    assert sent[0].headers["host"] == expected.headers["host"]


async def _ask(url: str, target: str) -> tuple[list[bytes], object]:
    """The bytes that a call of the target sends, and what it came to."""
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = Settings.load(api_url=url.replace("PORT", str(port)), api_token=TOKEN)
    api = TaskStopApi(settings)
    result = None
    for _ in range(2):
        result = await api.call(Target.parse(target), CREDENTIAL)
    await api.close()
    server.close()
    await server.wait_closed()
    return received, result


def test_the_request_is_as_the_api_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # not used: it would see the token
    received, _ = asyncio.run(_ask("http://127.0.0.1:PORT/base/", "us.er/t~1/s_2"))
    line, *headers = received[0].decode().split("\r\n")
    assert line == "GET /base/agent-api/user/us.er/task_stop/t~1?sub_user_id=s_2 HTTP/1.1"
    fields = dict(header.lower().split(": ", 1) for header in headers if header)
    assert fields["authorization"] == f"bearer {TOKEN}"
    assert fields["content-type"] == "application/json"
    assert fields["accept-encoding"] == "identity"
    assert not any("cookie" in one.decode().lower() for one in received)


def test_without_a_sub_user_the_parameter_is_left_out() -> None:
    received, _ = asyncio.run(_ask("http://127.0.0.1:PORT", "u/t"))
    assert received[0].startswith(b"GET /agent-api/user/u/task_stop/t HTTP/1.1\r\n")


def test_a_kept_connection_that_was_closed_is_no_second_request() -> None:
    """The library would send it again by itself, and the record would miss a call."""

    async def ask() -> tuple[int, list[object]]:
        requests = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal requests
            await reader.readuntil(b"\r\n\r\n")
            requests += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await reader.readuntil(b"\r\n\r\n")
            requests += 1
            writer.transport.abort()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        api = TaskStopApi(Settings.load(api_url=f"http://127.0.0.1:{port}", api_token=TOKEN))
        results = [await api.call(Target("u", "t"), CREDENTIAL) for _ in range(2)]
        await api.close()
        server.close()
        await server.wait_closed()
        return requests, results

    requests, results = asyncio.run(ask())
    assert requests == 2
    assert isinstance(results[1], NoReply)
    assert results[1].kind is CallErrorKind.READ
