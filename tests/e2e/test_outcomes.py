"""What leaves, with real processes: the archive has each outcome once, whoever is killed."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest
from sqlalchemy.engine import make_url

from stopline_archive.archive import Archive
from stopline_archive.places import HistoryFilter
from tests.conftest import wait_until
from tests.outcomes.conftest import postgres
from tests.support.postgres import Postgres, needs_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Stack

__all__ = ["postgres"]  # a fixture
_COUNT = 10_000
_KILLS = 3


class Outcomes:
    """`stopline outcomes run` as a process."""

    def __init__(self, stack: Stack, **variables: str) -> None:
        self._stack = stack
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._stack.directory / "outcomes.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stopline.cli", "outcomes", "run"],
                env={**os.environ, **self._stack.environment, **self._variables},
                cwd=self._stack.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def database(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Postgres | None]:
    """Where the archive is; None: in a file."""
    if request.param == "sqlite":
        yield None
        return
    server: Postgres = request.getfixturevalue("postgres")
    server.run("DROP SCHEMA public CASCADE")
    server.run("CREATE SCHEMA public")
    stack.variables["STOPLINE_ARCHIVE_URL"] = server.url
    yield server


def _archive(stack: Stack, database: Postgres | None) -> Archive:
    file = f"sqlite:///{stack.directory / '.stopline' / 'archive.db'}"
    url = file if database is None else database.url.replace("postgresql:", "postgresql+psycopg:")
    return Archive(make_url(url))


def _waiting(stack: Stack) -> int | None:
    return next((one.waiting for one in stack.client.sinks.view().views), None)


def test_each_outcome_is_in_the_archive_once_whoever_is_killed(
    stack: Stack, database: Postgres | None
) -> None:
    stack.api.start([{"task_id": "bad-*", "replies": [{"http_status": 400}], "for_ever": True}])
    stack.worker()
    sink = Outcomes(stack)
    sink.start()
    try:
        wait_until(lambda: _waiting(stack) is not None, what="the sink")
        for kill in range(_KILLS):
            names = [f"{'bad' if n % 50 == 0 else 'good'}-{kill}-{n}" for n in range(_COUNT // 3)]
            requests = [{"user_id": "u", "task_id": name, "lane": "bulk"} for name in names]
            batch_id = stack.client.stop_many(requests, batch_id=f"b{kill}").batch_id
            wait_until(lambda: stack.client.batch(batch_id).pending < _COUNT // 6)  # noqa: B023
            sink.kill()
            if database is not None:
                database.kill()
                database.start()
            sink.start()
            wait_until(lambda: stack.client.batch(batch_id).pending == 0)  # noqa: B023
        wait_until(lambda: _waiting(stack) == 0, limit_s=90)
        assert sink.end() == 0
    finally:
        sink.kill()
    archive = _archive(stack, database)
    found = list(archive.search(HistoryFilter()))
    archive.close()
    lines = [one for kill in range(_KILLS) for one in stack.client.batches.report(f"b{kill}")]
    assert {one.request_id: one.outcome for one in found} == {
        one.request_id: one.outcome for one in lines
    }
    assert len(found) == len(lines) == _COUNT // 3 * _KILLS


def test_history_tells_who_stopped_a_task_and_why(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    sink = Outcomes(stack)
    sink.start()
    try:
        wait_until(lambda: _waiting(stack) is not None, what="the sink")
        client = stack.client
        first = client.stop("u", "t", source="crm", reason="over budget")
        client.wait(first.request_id, 60)
        client.wait(client.stop("u", "other").request_id, 60)
        wait_until(lambda: _waiting(stack) == 0)
    finally:
        sink.kill()
    shown = stack.run("history", "--task-id", "t")
    assert b"by crm" in shown.stdout
    assert "“over budget”" in shown.stdout.decode()
    told = [orjson.loads(one) for one in stack.run("history", "--json").stdout.splitlines()]
    assert [one["task_id"] for one in told] == ["other", "t"]
    rows = list(csv.DictReader(io.StringIO(stack.run("history", "--csv").stdout.decode())))
    assert [(one["task_id"], one["reason"], one["attempts"]) for one in rows] == [
        ("other", "", "1"),
        ("t", "over budget", "1"),
    ]
    assert b"There are none" in stack.run("history", "--outcome", "expired").stderr
    bad = stack.run("history", "--since", "yesterday")
    assert bad.returncode == 2
    listed = stack.run("outcomes", "list", "--json")
    assert orjson.loads(listed.stdout)["sinks"][0]["name"] == "archive"
    assert stack.run("outcomes", "forget", "archive").returncode == 0
    assert stack.run("outcomes", "forget", "archive").returncode == 2
