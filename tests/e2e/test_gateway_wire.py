"""Hostile sockets: heads, bodies and what comes between, as bytes."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import wait_until
from tests.support.processes import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stopline.ledger import Ledger
    from tests.support.processes import GatewayProcess


def _talk(
    gateway: GatewayProcess, *parts: bytes, limit_s: float = 30, until: bytes = b"\0"
) -> bytes:
    """Send bytes, and read until the other side closes."""
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), limit_s) as connection:
        found = b""
        with suppress(ConnectionError):  # it may have seen enough
            for part in parts:
                connection.sendall(part)
            while not found.endswith(until) and (block := connection.recv(65536)):
                found += block
        return found


_POST = b"POST /v1/stops HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_RAW = b'{"user_id":"u","task_id":"smuggled"}'


@pytest.fixture(scope="module")
def shared(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that several tests send nonsense to."""
    with Stack(tmp_path_factory.mktemp("shared"), server) as stack:
        yield stack.gateway()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        # Two lengths, or a length and chunks: one reader takes this for the end, another that.
        ([_POST, b"Content-Length: 5\r\nContent-Length: 36\r\n\r\n", _RAW], 400),
        ([_POST, b"Content-Length: 36\r\nTransfer-Encoding: chunked\r\n\r\n", _RAW], 400),
        (
            [_POST, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
            400,
        ),
        ([_POST, b"Transfer-Encoding: xchunked\r\n\r\n", _RAW], 400),
        ([_POST, b"Content-Length: +36\r\n\r\n", _RAW], 400),
        ([_POST, b"Content-Length : 36\r\n\r\n", _RAW], 400),
        ([_POST, b"Host: evil.example\r\nContent-Length: 36\r\n\r\n", _RAW], 400),
        ([b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n"], 400),
        ([b"nonsense\r\n\r\n"], 400),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 4], 400),
        ([b"GET /livez HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000], 431),
        ([b"GET /" + b"a" * 70_000], 431),
        ([b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 20_000], 431),
        ([b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 20_000 + b"\r\n\r\n"], 431),
    ],
)
def test_heads_that_mean_two_things_or_do_not_end(
    shared: GatewayProcess, real_ledger: Ledger, parts: Sequence[bytes], status: int
) -> None:
    found = _talk(shared, *parts)
    assert found.startswith(f"HTTP/1.1 {status} ".encode()), found[:300]
    assert b"application/problem+json" in found
    assert found.count(b"HTTP/1.1") == 1
    assert httpx.get(f"{shared.url}/livez").status_code == 200
    assert not real_ledger.client.keys("{stopline}:r:*")


def test_a_wish_for_another_protocol_is_passed_over(shared: GatewayProcess) -> None:
    """As Java's client has it; the body must not get lost."""
    head = b"Connection: Upgrade, HTTP2-Settings\r\nUPGRADE: h2c\r\nHTTP2-Settings: AA\r\n"
    length = f"Content-Length: {len(_RAW)}\r\n\r\n".encode()
    found = _talk(shared, _POST + head + length + _RAW, until=b"}")
    assert found.startswith(b"HTTP/1.1 202 "), found


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_body_is_never_taken_for_a_head(shared: GatewayProcess, cut: int) -> None:
    """Wherever the network cuts: the end of a head may lie across two segments."""
    body = b"\r\nupgrade:" * 20
    head = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    address = urlsplit(shared.url)
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head[:-cut])
        time.sleep(0.1)  # so that it is a segment of its own
        connection.sendall(head[-cut:] + body + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = b""
        while b'"live"' not in found:
            found += connection.recv(65536)
    assert found.count(b"HTTP/1.1 ") == 2
    assert found.startswith(b"HTTP/1.1 404 ")


def test_many_requests_at_once_are_not_held(shared: GatewayProcess) -> None:
    found = _talk(shared, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000)
    assert found.count(b"HTTP/1.1 200") < 10_000
    assert httpx.get(f"{shared.url}/livez").status_code == 200


def test_an_error_never_stands_for_what_is_accepted(stack: Stack) -> None:
    gateway = stack.gateway()
    length = f"Content-Length: {len(_RAW)}\r\n\r\n".encode()
    found = _talk(gateway, _POST + length + _RAW + b"\x00garbage")
    is_accepted = bool(stack.client_of_server().keys("{stopline}:r:*"))
    assert not (is_accepted and b" 400 " in found), found


def test_slow_ones_are_not_waited_for(stack: Stack) -> None:
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_SILENCE_S": "1"})
    began = time.monotonic()
    slow_body = _talk(gateway, _POST, b"Content-Length: 36\r\n\r\n", _RAW[:5])
    assert slow_body.startswith(b"HTTP/1.1 408 ")
    slow_head = _talk(gateway, _POST)
    assert slow_head.startswith(b"HTTP/1.1 408 ")
    assert _talk(gateway) == b""
    assert time.monotonic() - began < 20
    assert not stack.client_of_server().keys("{stopline}:r:*")


def test_what_comes_between_requests_is_bounded(stack: Stack) -> None:
    """Line breaks before a head, a body that is not sent, trailers without end."""
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_SILENCE_S": "1"})
    assert _talk(gateway, b"\r\n") == b""
    late = _talk(
        gateway, b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", b"x"
    )
    assert late.startswith(b"HTTP/1.1 404 ")
    chunked = _POST + b"Transfer-Encoding: chunked\r\n\r\n24\r\n" + _RAW + b"\r\n0\r\n"
    trailers = b"".join(b"a%d: b\r\n" % number for number in range(20_000))
    found = _talk(gateway, chunked, trailers)
    assert found == b"" or found.startswith(b"HTTP/1.1 4"), found[:200]
    trailer = _talk(gateway, chunked + b"Idempotency-Key: late\r\n\r\n", until=b"}")
    assert trailer.startswith(b"HTTP/1.1 202 ")
    assert not stack.client_of_server().keys("{stopline}:i:*"), "a trailer is no header field"


def test_one_who_drips_is_not_waited_for(stack: Stack) -> None:
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_SILENCE_S": "1"})
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(_POST + b"Content-Length: 100000\r\n\r\n")
        found = b""
        connection.settimeout(0.1)
        for _ in range(300):
            try:
                connection.sendall(b" ")
                found = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                pass
            break
    assert found.startswith(b"HTTP/1.1 408 ")


def test_who_does_not_read_is_cut_off(stack: Stack) -> None:
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_SILENCE_S": "1"})
    address = urlsplit(gateway.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((address.hostname, address.port))
        ports = (address.port or 0, connection.getsockname()[1])
        wait_until(lambda: _is_established(*ports), what="the connection")

        def is_cut() -> bool:
            """Ask for more than the kernel has room for."""
            with suppress(OSError):
                connection.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return not _is_established(*ports)

        wait_until(is_cut, what="its end")


def _is_established(local: int, remote: int) -> bool:
    """Whether a process has a connection between two ports: the kernel's table says so."""
    rows = [row.split()[1:4] for row in Path("/proc/net/tcp").read_text().splitlines()]
    ends = [[end.rpartition(":")[2] for end in row] for row in rows]
    return [f"{local:04X}", f"{remote:04X}", "01"] in ends
