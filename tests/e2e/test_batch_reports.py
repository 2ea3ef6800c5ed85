"""`stopline batches`, as a person runs it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import orjson

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
    unknown = stack.run("batches", "report", "none")
    assert unknown.returncode == 2
    assert b"no batch none" in unknown.stderr
