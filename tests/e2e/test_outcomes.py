"""What leaves, with real processes: the archive has each outcome once, whoever is killed."""

from __future__ import annotations

import asyncio
import csv
import io
import threading
import zlib
from typing import TYPE_CHECKING, Self

import orjson
import pytest
from sqlalchemy.engine import make_url

from stopline_archive.archive import Archive
from stopline_archive.places import HistoryFilter
from tests.conftest import wait_until
from tests.outcomes.conftest import postgres
from tests.outcomes.receiver import OK, SECRET, Receiver, status
from tests.support.postgres import Postgres, needs_postgres
from tests.support.processes import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Stack

__all__ = ["postgres"]  # a fixture
_COUNT = 10_000
_KILLS = 3


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
    sink = ServiceProcess(stack, "outcomes", "run")
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
    sink = ServiceProcess(stack, "outcomes", "run")
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


class _ReceiverThread:
    """A receiver of callbacks on a loop of its own: it fails, hangs and redirects now and then."""

    def __init__(self) -> None:
        self._trap = Receiver()
        self.receiver = Receiver(self._answer)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _answer(self, callback_id: str, before: int) -> bytes | None:
        """By the id, so that it is the same in each run: of ten, six come well the first time."""
        number = zlib.crc32(callback_id.encode())
        if before >= 2:
            return OK
        if number % 500 == 3:
            return None
        moved = status(302, f"Location: {self._trap.url}")
        return {0: status(500), 1: moved, 2: b""}.get(number % 10, OK)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _run(self) -> None:
        async def main() -> None:
            async with self._trap.serving(), self.receiver.serving():
                self._ready.set()
                await self._over.wait()

        self._loop.run_until_complete(main())

    @property
    def is_clean(self) -> bool:
        """Whether nobody followed a redirect."""
        return self._trap.connections == 0


@pytest.mark.chaos
def test_each_of_ten_thousand_is_told_whoever_is_killed(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    with _ReceiverThread() as thread:
        receiver = thread.receiver
        file = stack.directory / "callbacks.yaml"
        file.write_text(
            f"secrets: ['{SECRET}']\nallow: [127.0.0.0/8]\n"
            f"sources: [{{source: '*', url: '{receiver.url}'}}]\n"
        )
        variables = {"FILE": str(file), "TIMEOUT_S": "2", "BACKOFF_BASE_S": "0.1"}
        variables |= {"BACKOFF_CAP_S": "1"}
        named = {f"STOPLINE_CALLBACKS_{name}": value for name, value in variables.items()}
        sink = ServiceProcess(stack, "outcomes", "run", **named)
        sink.start()
        try:
            wait_until(lambda: len(stack.client.sinks.view().views) == 2, what="the sinks")
            requests = [{"user_id": "u", "task_id": f"t{n}", "lane": "bulk"} for n in range(_COUNT)]
            stack.client.stop_many(requests, batch_id="b")
            for share in (0.2, 0.5, 0.8):
                wait_until(lambda: len(receiver.delivered) > share * _COUNT, limit_s=120)  # noqa: B023
                sink.kill()
                sink.start()
            wait_until(lambda: len(receiver.delivered) == _COUNT, limit_s=180)
            wait_until(lambda: stack.client.callbacks.count().waiting == 0, limit_s=60)
        finally:
            sink.kill()
        told = {str(one["data"]["request_id"]) for one in receiver.bodies}  # type: ignore[index]
        assert told == {one.request_id for one in stack.client.batches.report("b")}
        assert thread.is_clean
        assert stack.client.callbacks.count().dead == 0
