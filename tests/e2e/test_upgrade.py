"""Upgrades, and restores: the release before works on the same ledger, and a backup is enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from stopline import OutcomeKind, Settings, StopClient
from stopline.ledger import keys
from tests.conftest import wait_until
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from tests.support.processes import Stack, Worker

BEFORE: Final = "1eb5b070a05c76b73b354a8a4a4552d2dc3ad692"
"""The last commit of the release before, 0.1.0."""
_ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which this interpreter runs the release before."""
    place = tmp_path_factory.mktemp("before")
    archive = place / "code.tar"
    command = ["git", "archive", "-o", str(archive), BEFORE, "producers", "worker"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("the history of the repository is not here")
    subprocess.run(["tar", "-xf", str(archive), "-C", str(place)], check=True)
    return {"PYTHONPATH": f"{place / 'producers'}:{place / 'worker'}"}


def _file(directory: Path, name: str, count: int) -> str:
    path = directory / f"{name}.csv"
    path.write_text("user_id,task_id\n" + "".join(f"u,{name}-{n}\n" for n in range(count)))
    return str(path)


def _old(stack: Stack, before: dict[str, str], *arguments: str) -> None:
    """Run a command of the release before."""
    done = subprocess.run(
        [sys.executable, "-m", "stopline.cli", *arguments],
        env={**os.environ, **stack.environment, **before},
        cwd=stack.directory,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def _serves(worker: Worker) -> bool:
    return " ready" in worker.log


def test_old_and_new_workers_and_producers_share_a_ledger(
    stack: Stack, before: dict[str, str]
) -> None:
    """Workers first, one after the other, while both kinds of producers send."""
    stack.api.start(latency_ms=10)
    old = stack.worker(variables=before)
    _old(stack, before, "bulk", _file(stack.directory, "first", 1500), "--batch-id", "first")
    new = stack.worker()
    wait_until(lambda: _serves(old) and _serves(new), what="both workers")
    _old(stack, before, "bulk", _file(stack.directory, "second", 1500), "--batch-id", "second")
    client = stack.client
    requests = [{"user_id": "u", "task_id": f"third-{n}", "lane": "bulk"} for n in range(1500)]
    client.stop_many(requests, batch_id="third")
    single = client.stop("u", "first-0", lane="emergency")
    assert client.wait(single.request_id, 60).outcome is OutcomeKind.STOPPED
    old.process.terminate()  # type: ignore[union-attr]
    assert old.wait() == 0
    for name in ("first", "second", "third"):
        wait_until(lambda: client.batch(name).pending == 0, what=name)  # noqa: B023
        counted = Counter(one.outcome for one in client.batches.report(name))
        assert counted == {OutcomeKind.STOPPED: 1500}, name
    assert stack.api.total["targets"] == 4500
    with stack.client_of_server() as server:
        assert int(server.get(keys.FORMAT) or 0) == keys.FORMAT_VERSION
        assert not server.keys(keys.TURNS + "*")


def test_what_a_new_producer_sends_is_called_for_by_old_workers_alone(
    stack: Stack, before: dict[str, str]
) -> None:
    """Later: their sweeps find what waits for a turn that they do not know."""
    stack.api.start()
    stack.worker(variables=before)
    client = stack.client
    requests = [{"user_id": "u", "task_id": f"{n}", "lane": "bulk"} for n in range(300)]
    client.stop_many(requests, batch_id="b")
    wait_until(lambda: client.batch("b").pending == 0)
    assert client.batch("b").outcomes[OutcomeKind.STOPPED] == 300


def test_a_ledger_of_a_later_format_is_left_alone(stack: Stack) -> None:
    stack.api.start()
    with stack.client_of_server() as server:
        server.set(keys.FORMAT, keys.FORMAT_VERSION + 1)
        worker = stack.worker()
        assert worker.wait() == 2
        assert int(server.get(keys.FORMAT) or 0) == keys.FORMAT_VERSION + 1
    assert "docs/upgrading.md" in worker.log
    assert b"its format is" in stack.run("doctor").stdout


def test_a_restored_backup_loses_nothing_that_was_accepted_before_it(
    stack: Stack, tmp_path: Path
) -> None:
    stack.api.start()
    client = stack.client
    client.stop_many([{"user_id": "u", "task_id": f"open-{n}"} for n in range(200)], batch_id="b")
    client.stop_many([{"user_id": "u", "task_id": f"over-{n}"} for n in range(50)], batch_id="c")
    client.cancel_batch("c")
    with stack.client_of_server() as server:
        server.save()
        place = (
            Path(server.config_get("dir")["dir"]) / server.config_get("dbfilename")["dbfilename"]
        )
        backup = tmp_path / "backup.rdb"
        shutil.copy(place, backup)
    worker = stack.worker()
    wait_until(lambda: client.batch("b").pending == 0)
    worker.kill()
    directory = tmp_path / "restored"
    directory.mkdir()
    shutil.copy(backup, directory / "dump.rdb")
    restored = Valkey(directory).start()
    try:
        stack.settings["redis_url"] = restored.url
        with StopClient(Settings.load(redis_url=restored.url)) as again:
            assert (again.batch("b").pending, again.batch("c").pending) == (200, 0)
            stack.worker()
            wait_until(lambda: again.batch("b").pending == 0)
            assert again.batch("b").outcomes[OutcomeKind.STOPPED] == 200
            assert again.batch("c").outcomes[OutcomeKind.CANCELLED] == 50
    finally:
        restored.kill()
