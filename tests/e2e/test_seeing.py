"""`list`, `top`, `watch`, `doctor --repair`: on real workers, and as a terminal shows them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from stopline.ledger import keys
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.support.processes import Stack

_HOSTILE = "crm\x1b]0;owned\x07\x1b[2J\u202e[red]"


def _lines(raw: bytes) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in raw.splitlines()]


def test_open_requests_by_a_filter(stack: Stack) -> None:
    for number in range(5):
        stack.client.stop("u", str(number), source="crm" if number % 2 else "billing")
    found = stack.run("list", "--source", "crm", "--json")
    assert [one["task_id"] for one in _lines(found.stdout)] == ["1", "3"]
    assert len(_lines(stack.run("list", "--limit", "2", "--json").stdout)) == 2
    assert b"There are more than 2" in stack.run("list", "--limit", "2").stderr
    assert b"There are none" in stack.run("list", "--ended").stderr
    wrong = stack.run("list", "--state", "queued", "--ended")
    assert (wrong.returncode, b"--state is of open requests" in wrong.stderr) == (2, True)
    assert stack.run("list", "--user-id", "a b").returncode == 2


def test_what_ended_and_how_a_batch_did(stack: Stack) -> None:
    stack.api.start([{"task_id": "bad", "replies": [{"http_status": 400}]}])
    stack.worker()
    wishes = [{"user_id": "u", "task_id": name} for name in ("a", "b", "bad")]
    stack.client.stop_many(wishes, batch_id="some")
    watched = stack.run("watch", "some", "--json")
    assert watched.returncode == 1, watched.stderr
    assert orjson.loads(watched.stdout)["outcomes"]["rejected"] == 1
    ended = _lines(stack.run("list", "--ended", "--json").stdout)
    assert {one["task_id"] for one in ended} == {"a", "b", "bad"}
    (bad,) = _lines(stack.run("list", "--outcome", "rejected", "--json").stdout)
    assert bad["task_id"] == "bad"
    seen = orjson.loads(stack.run("top", "--json").stdout)
    assert (seen["dead_letters"], seen["healthy"]) == (1, True)
    assert stack.run("watch", "unknown").returncode == 2


def test_nothing_of_a_strangers_text_moves_the_cursor(stack: Stack) -> None:
    stack.client.stop("u", "t", source=_HOSTILE, reason=_HOSTILE)
    for command in (["list"], ["top", "--once"]):
        done = stack.run(*command)
        assert done.returncode == 0, done.stderr
        for hostile in ("\x1b]", "\x07", "\u202e"):
            assert hostile.encode() not in done.stdout
    assert b"crm\\x1b]0;owned" in stack.run("list").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_top_is_live_and_q_ends_it(stack: Stack) -> None:
    stack.client.stop("u", "t")
    controlling, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "stopline.cli", "top"],
        env={**stack.environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        cwd=stack.directory,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""

    def has(text: bytes) -> bool:
        nonlocal shown
        if select.select([controlling], [], [], 0.1)[0]:
            shown += os.read(controlling, 65536)
        return text in shown

    wait_until(lambda: has(b"default"), what="the first screen")
    shown = b""
    stack.client.stop("u", "t2")
    wait_until(lambda: has(b"open \x1b[0m2"), what="the second request")
    os.write(controlling, b"q")
    wait_until(lambda: has(b"\x1b[?1049l"), what="the screen of before")
    assert process.wait(30) == 0
    os.close(controlling)


def test_the_doctor_puts_counters_right(stack: Stack) -> None:
    stack.client.stop("u", "t")
    with stack.client_of_server() as server:
        server.hincrby(keys.COUNTS, "open:default:queued", 4)
        told = stack.run("doctor", "--json").stdout
        assert b"said 5, there are 1" in told
        stack.run("doctor", "--repair")
        assert server.hget(keys.COUNTS, "open:default:queued") == b"1"
    assert stack.client.view.recount().wrong == ()
