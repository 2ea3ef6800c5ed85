"""`stopline up` and `stopline demo`, as a person starts them."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import orjson
import psutil
import pytest

from stopline import (
    Lane,
    OutcomeKind,
    Settings,
    StopClient,
)
from stopline.ledger.limits import Limits
from stopline.servers.embedded import find_running
from tests.conftest import wait_until
from tests.support.processes import TOKEN, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = 10_000


@pytest.fixture
def embedded(stack: Stack) -> Stack:
    """A stack whose commands use the embedded server."""
    stack.settings.update(redis_url=None, data_dir=stack.directory / "data")
    return stack


def _state(data_dir: Path) -> bytes:
    path = data_dir / "server.json"
    return path.read_bytes() if path.exists() else b""


@contextmanager
def _up(stack: Stack, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    data_dir = Path(str(stack.settings["data_dir"]))
    before = _state(data_dir)  # of an owner that was killed
    with (stack.directory / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("stopline")), "up", *arguments],
            env={**os.environ, **stack.environment},
            cwd=stack.directory,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(
            lambda: find_running(data_dir) and _state(data_dir) != before,
            what="the embedded server",
        )
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()


def _batch_file(stack: Stack, lines: int = LINES) -> Path:
    path = stack.directory / "targets.csv"
    rows = "".join(f"user-{n % 7},task-{n}\n" for n in range(lines))
    path.write_text("user_id,task_id\n" + rows)
    return path


def test_up_has_a_gateway_on_loopback(embedded: Stack) -> None:
    embedded.api.start()
    log = embedded.directory / "up.log"
    with _up(embedded):
        wait_until(lambda: re.search(r"gateway: (http://127\.0\.0\.1:\d+) ", log.read_text()))
        found = re.search(r"gateway: (http://\S+) ", log.read_text())
        assert found is not None
        body = {"user_id": "u", "task_id": "t"}
        reply = httpx.post(f"{found[1]}/v1/stops?wait_s=60", json=body, timeout=70)
        assert reply.json()["outcome"] == "stopped"


def test_up_goes_on_without_a_gateway_whose_port_is_taken(embedded: Stack) -> None:
    embedded.api.start()
    log = embedded.directory / "up.log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        embedded.variables["STOPLINE_GATEWAY_PORT"] = str(taken.getsockname()[1])
        with _up(embedded):
            wait_until(lambda: "the others go on without it" in log.read_text())
            assert "set STOPLINE_GATEWAY_PORT" in log.read_text()
            receipt = embedded.run("stop", "u", "t", "--wait", "--json")
            assert receipt.returncode == 0


def test_a_file_of_10_000_targets_is_one_call_each_and_again_is_none(embedded: Stack) -> None:
    embedded.api.start()
    path = _batch_file(embedded)
    with _up(embedded):
        first = embedded.run("bulk", str(path), "--wait", "--json", limit_s=170)
        assert first.returncode == 0, first.stderr.decode()
        report = orjson.loads(first.stdout)
        assert report["receipts"] == {"accepted": LINES}
        assert report["batch"]["outcomes"]["stopped"] == LINES
        total = embedded.api.total
        assert (total["calls"], total["most_calls_of_a_target"]) == (LINES, 1)

        again = embedded.run("bulk", str(path), "--wait")
        assert again.returncode == 0
        assert b"Every line was sent before" in again.stdout
        assert embedded.api.total == total


def test_the_progress_bar_moves(embedded: Stack) -> None:
    embedded.api.start()
    path = _batch_file(embedded)
    controller, terminal = pty.openpty()
    with _up(embedded):
        process = subprocess.Popen(
            [sys.executable, "-m", "stopline.cli", "bulk", str(path), "--wait"],
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **embedded.environment},
            cwd=embedded.directory,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # the terminal ends with the process
            while block := os.read(controller, 65536):
                shown += block
        os.close(controller)
        assert process.wait(60) == 0
    for name in (b"sending", b"outcomes"):
        counts = set(re.findall(name + rb".*?(\d+)/" + str(LINES).encode(), shown))
        assert len(counts) >= 3, name
        assert str(LINES).encode() in counts


def _peak_memory(stack: Stack, path: Path) -> int:
    """The peak of a bulk command's resident memory, in KiB.

    Not `ru_maxrss`: that of a child begins with what its parent had when it forked.
    """
    command = [sys.executable, "-m", "stopline.cli", "bulk", str(path), "--json"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **stack.environment},
        cwd=stack.directory,
        stdout=subprocess.DEVNULL,
    )
    peak = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        peak = int(found[1]) if found else peak
        time.sleep(0.01)
    assert process.returncode == 0
    return peak


def test_the_memory_of_bulk_does_not_grow_with_the_file(stack: Stack) -> None:
    small = _peak_memory(stack, _batch_file(stack, 10_000))
    large = _peak_memory(stack, _batch_file(stack, 100_000))
    assert large <= small * 1.10


def test_bulk_killed_in_the_middle_is_completed_by_the_same_command(embedded: Stack) -> None:
    embedded.api.start()
    path = _batch_file(embedded)
    with _up(embedded):
        process = subprocess.Popen(
            [sys.executable, "-m", "stopline.cli", "bulk", str(path), "--json"],
            env={**os.environ, **embedded.environment},
            cwd=embedded.directory,
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: embedded.api.total["calls"] > 0, what="the first call")
        process.kill()
        process.wait()
        again = embedded.run("bulk", str(path), "--wait", "--json", limit_s=170)
        assert again.returncode == 0, again.stderr.decode()
        batch = orjson.loads(again.stdout)["batch"]
        assert (batch["total"], batch["outcomes"]["stopped"]) == (LINES, LINES)
        assert embedded.api.total["most_calls_of_a_target"] == 1


def test_what_was_accepted_is_there_at_the_next_start(embedded: Stack) -> None:
    embedded.api.start([{"task_id": "t", "replies": [{"action": "hang"}]}])
    embedded.settings.update(drain_s=0)
    with _up(embedded):
        shown = embedded.run("stop", "u", "t", "--json")
        request_id = orjson.loads(shown.stdout)["request_id"]
        wait_until(lambda: embedded.api.total["calls"], what="the call that hangs")
    with _up(embedded):
        settings = Settings.load(data_dir=embedded.settings["data_dir"])
        with StopClient(settings) as client:
            assert client.wait(request_id, 60).outcome is OutcomeKind.STOPPED


def test_up_killed_with_kill_9_leaves_no_worker_and_the_next_start_goes_on(
    embedded: Stack,
) -> None:
    embedded.api.start()
    with _up(embedded) as process:
        assert embedded.run("stop", "u", "a", "--wait").returncode == 0
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [one for one in children if "valkey-server" not in one.name()]
        assert workers
        process.kill()
        psutil.wait_procs(workers, timeout=60)
        assert not [one for one in workers if one.is_running()]
    with _up(embedded):
        assert embedded.run("stop", "u", "b", "--wait").returncode == 0


def test_a_server_that_dies_is_started_again_and_nothing_is_lost(embedded: Stack) -> None:
    embedded.api.start()
    with _up(embedded) as process:
        assert embedded.run("stop", "u", "a", "--wait").returncode == 0
        shown = embedded.run("stop", "u", "b", "--json")
        children = psutil.Process(process.pid).children()
        (server,) = [one for one in children if "valkey-server" in one.name()]
        server.kill()
        request_id = orjson.loads(shown.stdout)["request_id"]

        def outcome() -> object:
            found = embedded.run("status", request_id, "--json")
            return found.returncode == 0 and orjson.loads(found.stdout)["outcome"]

        wait_until(lambda: outcome() == "stopped", what="the outcome")
        wait_until(
            lambda: embedded.run("stop", "u", "c", "--wait").returncode == 0, what="a new stop"
        )


def test_the_address_of_the_server_stays(embedded: Stack) -> None:
    embedded.api.start()
    urls = set()
    for _ in range(2):
        with _up(embedded):
            urls.add(find_running(Path(str(embedded.settings["data_dir"]))))
    assert len(urls) == 1


def test_a_hang_up_stops_everything(embedded: Stack) -> None:
    """The terminal of `up` is closed."""
    embedded.api.start()
    with _up(embedded) as process:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGHUP)
        process.wait(60)
        assert not [one for one in children if one.is_running()]


def test_a_second_up_says_that_there_is_one(embedded: Stack) -> None:
    embedded.api.start()
    with _up(embedded):
        second = embedded.run("up")
        assert second.returncode == 2
        assert b"Another process already runs the embedded server" in second.stderr


def test_a_stop_comes_by_message_long_before_a_sweep_would_find_it(embedded: Stack) -> None:
    """How long exactly, `make time-to-stop` measures: that depends on the machine."""
    embedded.api.start()
    with _up(embedded):
        settings = Settings.load(data_dir=embedded.settings["data_dir"])
        with StopClient(settings) as client:
            for lane in Lane:  # both workers are up, and their connections open
                client.wait(client.stop("warm-up", lane, lane=lane).request_id, 60)
            took = []
            for n in range(20):
                asked_at = time.time()
                client.wait(client.stop("u", str(n)).request_id, 60)
                (call,) = embedded.api.calls(f"u/{n}")
                took.append(call["at"] - asked_at)
    assert statistics.median(took) < Limits().look_again_s / 2


def test_the_demo_shows_each_outcome(stack: Stack) -> None:
    shown = stack.run("demo", limit_s=170)
    assert shown.returncode == 0, shown.stderr.decode()
    text = shown.stdout.decode()
    for words in (
        "stopped at once",
        "stopped after retries",
        "joined",
        "rejected",
        "not_found",
        "expired",
    ):
        assert words in text
    assert "unexpected" not in text


def test_the_token_is_asked_for_before_anything_starts(embedded: Stack) -> None:
    embedded.settings.update(api_token=None)
    shown = embedded.run("up")
    assert shown.returncode == 2
    assert b"No API token" in shown.stderr
    assert TOKEN.encode() not in shown.stderr
    assert not Path(str(embedded.settings["data_dir"])).exists()


def test_it_says_when_it_is_ready_and_nothing_but_json(embedded: Stack) -> None:
    embedded.api.start()
    log = embedded.directory / "up.log"
    with _up(embedded):
        wait_until(lambda: b'"action": "ready"' in log.read_bytes(), what="the word")
        receipt = embedded.run("stop", "u", "t", "--wait", "--timeout", "5")
        assert receipt.returncode == 0
    lines = [line for line in log.read_text().splitlines() if "Warm shutdown" not in line and line]
    for line in lines:  # Celery's farewell goes to stdout
        orjson.loads(line)


@pytest.mark.parametrize("name", ["orjson", "celeryconfig", "redis", "stopline_worker", "httpx"])
def test_nothing_is_imported_from_the_current_directory(embedded: Stack, name: str) -> None:
    """It would run with the token in its environment."""
    proof = embedded.directory / "it-ran"
    embedded.api.start()
    (embedded.directory / f"{name}.py").write_text(f"open({str(proof)!r}, 'w')\n")
    with _up(embedded):
        command = [str(Path(sys.executable).with_name("stopline")), "stop", "u", "t", "--wait"]
        done = subprocess.run(
            command,
            env={**os.environ, **embedded.environment},
            cwd=embedded.directory,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert not proof.exists()


def test_a_worker_that_starts_while_the_server_stalls_does_not_end_it(embedded: Stack) -> None:
    embedded.api.start()
    log = embedded.directory / "up.log"
    with _up(embedded) as process:
        wait_until(lambda: b'"action": "ready"' in log.read_bytes(), what="the word")
        children = psutil.Process(process.pid).children()
        (server,) = [one for one in children if "valkey" in one.name()]
        workers = [one for one in children if one.pid != server.pid]
        server.suspend()
        workers[0].kill()
        wait_until(lambda: b"ended with 3" in log.read_bytes(), what="the failed start")
        server.resume()
        assert process.poll() is None
        done = embedded.run("stop", "u", "t", "--wait", "--timeout", "60")
        assert done.returncode == 0
