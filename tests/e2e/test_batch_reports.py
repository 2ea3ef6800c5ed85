"""`stopline batches`, as a person runs it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

import orjson

from stopline.contract import Lane, OutcomeKind
from tests.conftest import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Stack


def test_a_batch_by_mistake_is_seen_line_by_line_and_undone(stack: Stack, tmp_path: Path) -> None:
    said = {"status": "error", "code": 400, "message": "no"}
    stack.api.start([{"task_id": "bad", "replies": [{"http_status": 400, "body": said}] * 9}])
    stack.worker()
    client = stack.client
    file = tmp_path / "targets.csv"
    file.write_text("user_id,task_id\nu,1\nu,bad\nu,2\nu,resumed\n")
    assert stack.run("bulk", str(file), "--wait", "--json").returncode == 1
    listed = stack.run("batches", "list", "--json")
    batch_id = orjson.loads(listed.stdout)["batch_id"]
    assert batch_id.encode() in stack.run("batches", "list").stdout
    client.resumed("u", "resumed")

    told = stack.run("batches", "report", batch_id)
    rows = list(csv.DictReader(io.StringIO(told.stdout.decode())))
    assert [(row["place"], row["task_id"], row["outcome"]) for row in rows] == [
        ("2", "1", "stopped"),
        ("3", "bad", "rejected"),
        ("4", "2", "stopped"),
        ("5", "resumed", "stopped"),
    ]
    only = stack.run("batches", "report", batch_id, "--outcome", "rejected", "--json")
    assert orjson.loads(only.stdout)["task_id"] == "bad"

    undone = stack.run("batches", "undo", batch_id)
    assert undone.stdout == b"user_id,task_id,sub_user_id\nu,1,\nu,2,\n"
    tried = stack.run("bulk", "-", "--format", "csv", "--dry-run", stdin=undone.stdout)
    assert tried.returncode == 0, tried.stderr
    assert b"accepted" in tried.stdout  # it would be new: a call that began before cannot serve it
    again = stack.run("batches", "redrive", batch_id, "--outcome", "rejected", "--json")
    assert orjson.loads(again.stdout) == {"redriven": 1, "accepted": 1}
    bad = stack.run("resumed", "--file", "-", stdin=b"user_id,task_id\nu,1\nu,\n")
    assert bad.returncode == 2
    assert b"nothing was told" in bad.stderr
    resumed = stack.run("resumed", "--file", "-", "--json", stdin=undone.stdout)
    assert orjson.loads(resumed.stdout) == {"resumed": 2, "superseded": 0, "in_flight": 0}
    assert stack.run("batches", "undo", batch_id).stdout == b"user_id,task_id,sub_user_id\n"
    unknown = stack.run("batches", "report", "none")
    assert unknown.returncode == 2
    assert b"no batch none" in unknown.stderr


def test_a_batch_is_paused_in_its_middle_goes_on_and_is_cancelled(
    stack: Stack, tmp_path: Path
) -> None:
    stack.api.start([], latency_ms=20)
    stack.worker()
    file = tmp_path / "targets.csv"
    rows = "".join(f"u,{number}\n" for number in range(20_000))
    file.write_text("user_id,task_id\n" + rows)
    assert stack.run("bulk", str(file), "--batch-id", "b").returncode == 0
    wait_until(lambda: stack.client.batch("b").outcomes[OutcomeKind.STOPPED] > 100)
    paused = stack.run("batches", "pause", "b", "--reason", "the wrong list")
    assert b"the wrong list" in paused.stdout
    at_rest = _at_rest(stack)
    assert 0 < at_rest < 20_000
    assert b"(paused)" in stack.run("batches", "list").stdout
    assert stack.run("batches", "resume", "b", "--json").returncode == 0
    wait_until(lambda: stack.client.batch("b").outcomes[OutcomeKind.STOPPED] > at_rest)
    assert stack.run("batches", "cancel", "b", "--json").returncode == 0
    wait_until(lambda: stack.client.batch("b").pending == 0)
    counts = Counter(one.outcome for one in stack.client.batches.report("b"))
    assert set(counts) == {OutcomeKind.STOPPED, OutcomeKind.CANCELLED}
    assert counts.total() == 20_000


def _at_rest(stack: Stack) -> int:
    """How many of the batch are stopped once others of its lane are called for and none of it."""
    seen = -1
    for probe in count():
        sent = stack.client.stop("another", f"task-{probe}", lane=Lane.BULK)
        assert stack.client.wait(sent.request_id, timeout_s=30).outcome is OutcomeKind.STOPPED
        now = stack.client.batch("b").outcomes[OutcomeKind.STOPPED]
        if now == seen:
            break
        seen = now
    return seen
