"""The gateway as a process: tools that are not ours, hostile sockets, kills, and its end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from stopline_gateway.keys import Scope
from tests.conftest import wait_until
from tests.support.gateway import KeyRing
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Stack

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
    checked = stack.run("gateway", "key", "check", str(path), "--json")
    assert [orjson.loads(line)["source"] for line in checked.stdout.splitlines()] == ["crm", "ops"]
    assert b"sha256" not in checked.stdout
    path.write_text(path.read_text() + "nonsense\n")
    checked = stack.run("gateway", "key", "check", str(path))
    assert (checked.returncode, b"line 3" in checked.stderr) == (2, True)
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
