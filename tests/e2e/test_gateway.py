"""The gateway as a process: tools that are not ours, hostile sockets, kills, and its end."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from stopline_gateway.keys import Scope
from tests.conftest import wait_until
from tests.support.gateway import KeyRing
from tests.support.processes import Stack
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from stopline.ledger import Ledger
    from tests.support.processes import GatewayProcess

_BODY = {"user_id": "u", "task_id": "t"}


def _curl(*arguments: str) -> tuple[int, Any]:
    """What curl gets: status and document."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *arguments],
        capture_output=True,
        check=True,
        text=True,
    )
    text, _, status = done.stdout.rpartition("\n")
    return int(status), orjson.loads(text) if text else None


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


@needs_curl
def test_every_route_with_curl(stack: Stack) -> None:
    stack.api.start()
    stack.settings["outcomes"] = "1"
    stack.worker()
    keys = KeyRing(stack.directory / "keys")
    key = keys.add("crm")
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_KEYS_FILE": str(keys.path)})
    url = f"{gateway.url}/v1"
    auth = ("-H", f"Authorization: Bearer {key}")
    json = (*auth, "-H", "Content-Type: application/json", "-d")
    status, outcome = _curl(f"{url}/stops?wait_s=30", *json, '{"user_id":"u","task_id":"1"}')
    assert (status, outcome["outcome"], outcome["source"]) == (200, "stopped", "crm")
    place = f"{url}/stops/{outcome['request_id']}"
    assert _curl(place, *auth)[1]["outcome"] == "stopped"
    assert _curl("-X", "DELETE", place, *auth)[1]["result"] == "already_finished"
    assert _curl(f"{url}/resumes", *json, '{"user_id":"u","task_id":"1"}')[0] == 200
    csv = stack.directory / "targets.csv"
    csv.write_text("user_id,task_id\n" + "".join(f"u,{n}\n" for n in range(100)))
    upload = ("-T", str(csv), "-X", "POST", "-H", "Content-Type: text/csv", *auth)
    status, report = _curl(f"{url}/batches?batch_id=night", *upload)
    assert (status, report["lines"]) == (202, 100)
    wait_until(lambda: _curl(f"{url}/batches/night", *auth)[1]["pending"] == 0)
    assert _curl("-X", "POST", f"{url}/batches/night/cancel", *auth)[0] == 200
    event = '{"specversion":"1.0","id":"1","source":"/x","type":"other"}'
    structured = ("-H", "Content-Type: application/cloudevents+json", "-d", event, *auth)
    assert _curl(f"{url}/events", *structured)[1]["status"] == "ignored"
    assert _curl(f"{url}/dead-letters", *auth)[1]["letters"] == []
    for verb in ("redrive", "discard"):
        assert _curl(f"{url}/dead-letters/{verb}", *json, '{"all":true}')[0] == 200
    stream = subprocess.run(
        ["curl", "-sSN", "--max-time", "5", f"{url}/outcomes", "-H", "Last-Event-ID: 0-0", *auth],
        capture_output=True,
        check=False,
        text=True,
    )
    assert stream.stdout.count("event: outcome") == 101
    audit = stack.run("audit", "--json", "--actor", "crm")
    assert b'"action":"batch_end"' in audit.stdout
    assert key[-20:] not in gateway.log


def test_the_cloudevents_sdk_as_a_sender(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    gateway = stack.gateway()
    attributes = {"id": "1", "source": "/sdk", "type": "stopline.stop.requested"}
    statuses = []
    for number, written in enumerate((to_structured_event, to_binary_event)):
        data = {"user_id": "u", "task_id": str(number)}
        event = CloudEvent({**attributes, "id": str(number), "specversion": "1.0"}, data)
        message = written(event)
        for _ in range(2):
            headers, body = dict(message.headers), bytes(message.body)
            reply = httpx.post(f"{gateway.url}/v1/events", content=body, headers=headers)
            statuses.append(reply.json()["receipt"]["receipt"])
    assert statuses == ["accepted", "duplicate"] * 2
    outcome = httpx.get(f"{gateway.url}/v1/stops/{reply.json()['receipt']['request_id']}?wait_s=30")
    assert outcome.json()["outcome"] == "stopped"


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


def test_a_full_redis_is_told_and_it_recovers_by_itself(stack: Stack) -> None:
    gateway = stack.gateway()
    with stack.client_of_server() as server, httpx.Client(base_url=gateway.url) as client:
        assert client.post("/v1/stops", json=_BODY).status_code == 202
        server.config_set("maxmemory", 1)
        reply = client.post("/v1/stops", json={**_BODY, "task_id": "other"})
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        server.config_set("maxmemory", 0)
        assert client.post("/v1/stops", json={**_BODY, "task_id": "other"}).status_code == 202


def test_a_redis_that_is_away_is_told_and_it_recovers_by_itself(
    stack: Stack, tmp_path: Path
) -> None:
    server = Valkey(tmp_path / "valkey").start()
    try:
        stack.settings["redis_url"] = server.url
        gateway = stack.gateway()
        with httpx.Client(base_url=gateway.url, timeout=60) as client:
            assert client.post("/v1/stops", json=_BODY).status_code == 202
            server.kill()
            reply = client.post("/v1/stops", json=_BODY)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
            assert reply.json()["type"] == "urn:stopline:problem:unavailable"
            assert str(server.port) not in reply.text
            assert client.get("/readyz").status_code == 503
            assert client.get("/livez").status_code == 200
            server.start()
            wait_until(lambda: client.get("/readyz").status_code == 200)
            assert client.post("/v1/stops", json=_BODY).status_code == 202
        assert "Traceback" not in gateway.log
    finally:
        server.kill()


def test_who_waits_when_it_ends_gets_an_answer(stack: Stack) -> None:
    gateway = stack.gateway()
    assert gateway.process is not None
    with ThreadPoolExecutor(20) as pool:

        def wait(number: int) -> httpx.Response:
            body = {**_BODY, "task_id": str(number)}
            return httpx.post(f"{gateway.url}/v1/stops?wait_s=60", json=body, timeout=60)

        waiting = [pool.submit(wait, number) for number in range(20)]
        with stack.client_of_server() as server:
            wait_until(lambda: len(server.keys("{stopline}:r:*")) == 20)
            wait_until(lambda: server.execute_command("PUBSUB", "CHANNELS", "celery-task-meta-*"))
        gateway.process.send_signal(signal.SIGTERM)
        replies = [one.result() for one in waiting]
    assert {reply.status_code for reply in replies} == {202}
    assert {reply.headers["retry-after"] for reply in replies} == {"1"}
    assert gateway.process.wait(30) in {0, -signal.SIGTERM, 128 + signal.SIGTERM}
    assert "Traceback" not in gateway.log


def test_several_processes_share_one_port_and_one_that_dies_comes_back(stack: Stack) -> None:
    import psutil  # noqa: PLC0415  # only here

    gateway = stack.gateway("--workers", "2")
    assert gateway.process is not None
    parent = psutil.Process(gateway.process.pid)
    wait_until(lambda: len(parent.children()) == 2)
    first = parent.children()[0]
    first.kill()
    wait_until(lambda: first not in parent.children() and len(parent.children()) == 2)
    for number in range(10):
        body = {**_BODY, "task_id": str(number)}
        assert httpx.post(f"{gateway.url}/v1/stops", json=body).status_code == 202


def test_a_port_that_is_taken_is_said(stack: Stack) -> None:
    gateway = stack.gateway()
    port = gateway.url.rpartition(":")[2]
    done = stack.run("gateway", "--port", port)
    assert done.returncode == 3
    assert b"STOPLINE_GATEWAY_PORT" in done.stderr


def test_without_keys_others_are_not_let_in(stack: Stack) -> None:
    done = stack.run("gateway", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert b"stopline gateway key new" in done.stderr


def test_a_key_from_the_command_line(stack: Stack) -> None:
    path = stack.directory / "keys"
    made = [
        orjson.loads(stack.run(*command, "--json").stdout)["key"]
        for command in (
            ["gateway", "key", "new", "--source", "crm", "--file", str(path)],
            ["gateway", "key", "new", "--source", "ops", "--scope", "operate", "--file", str(path)],
        )
    ]
    assert path.stat().st_mode & 0o077 == 0
    assert all(key.rpartition("_")[2] not in path.read_text() for key in made)
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_KEYS_FILE": str(path)})
    statuses = [
        httpx.post(
            f"{gateway.url}/v1/stops", json=_BODY, headers={"Authorization": f"Bearer {key}"}
        ).status_code
        for key in made
    ]
    assert statuses == [202, 403]
    wrong = stack.run("gateway", "key", "new", "--source", "crm", "--scope", "everything")
    assert wrong.returncode == 2
    assert b"stop, bulk, read, operate" in wrong.stderr


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.chaos)])
def test_killed_again_and_again_nothing_is_lost_or_doubled(stack: Stack, count: int) -> None:
    """Clients that repeat with their key: each event's stop is there exactly once."""
    stack.api.start()
    stack.worker()
    gateway = stack.gateway()
    receipts: dict[int, set[str]] = {}
    lock = threading.Lock()

    def send(number: int) -> None:
        body = {"user_id": f"u{number % 7}", "task_id": str(number)}
        headers = {"Idempotency-Key": f"event-{number}"}
        while True:
            try:
                reply = client.post(f"{gateway.url}/v1/stops", json=body, headers=headers)
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            if reply.status_code in {200, 202}:
                with lock:
                    receipts.setdefault(number, set()).add(reply.json()["request_id"])
                return

    with httpx.Client(timeout=10) as client, ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(send, number % count) for number in range(count * 3 // 2)]
        for share in (count * 3 // 10, count * 7 // 10, count * 11 // 10):
            wait_until(
                lambda share=share: sum(one.done() for one in sending) >= share,  # type: ignore[misc]
                limit_s=150,
            )
            gateway.kill()
            gateway.start()
        for one in sending:
            one.result()
    assert len(receipts) == count
    assert all(len(ids) == 1 for ids in receipts.values())
    outcomes = [stack.client.wait(next(iter(ids)), 60) for ids in receipts.values()]
    assert {one.outcome for one in outcomes} == {"stopped"}


def test_scopes_of_a_new_key_are_words_of_the_docs() -> None:
    assert [scope.value for scope in Scope] == ["stop", "bulk", "read", "operate"]
