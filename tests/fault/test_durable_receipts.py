"""With STOPLINE_DURABILITY=fsync a receipt survives whatever ends Redis, a loss of power included.

`kill -9` alone leaves what was written but not synced in the kernel's cache. So the server runs
with a library that remembers how much of its file was synced; after each kill the rest is cut off.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest

from stopline.contract import StopRequest, new_request_id
from stopline.errors import InvalidSettingsError, StoplineError
from stopline.ledger import Ledger, commands, keys
from stopline.ledger.limits import Limits
from stopline.ledger.values import Accepted, Submission
from stopline.servers.connecting import connect
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PRODUCERS = 3
_A_CALL = 5


@pytest.fixture(scope="session")
def power_loss(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a server that remembers what was synced."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): what was not synced cannot be told from what was")
    library = tmp_path_factory.mktemp("power") / "power_loss.so"
    source = __file__.replace("test_durable_receipts.py", "power_loss.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library)}


@dataclass(slots=True)
class Producers:
    """Threads that accept requests until they are told to stop, and their receipts."""

    url: str
    limits: Limits
    receipts: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._accept) for _ in range(_PRODUCERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        ledger = Ledger(connect(self.url, timeout_s=6))
        while not self._stop.is_set():
            requests = [
                StopRequest(user_id="u", task_id=one, request_id=one)
                for one in (new_request_id() for _ in range(_A_CALL))
            ]
            try:
                replies = ledger.run(
                    commands.accept(self.limits, [Submission(one) for one in requests])
                )
            except StoplineError:
                continue
            self.receipts += [one.receipt.request_id for one in replies if one.receipt]
        ledger.close()


def _lose_power(server: Valkey) -> None:
    """Kill the server, and take back what its file held beyond the last sync."""
    server.kill()
    for file in server.directory.rglob("*.incr.aof"):
        note = file.with_name(file.name + ".synced")
        size = int(note.read_text()) if note.exists() else 0
        with file.open("rb+") as opened:
            opened.truncate(min(size, file.stat().st_size))


def _missing(server: Valkey, receipts: Iterable[str]) -> list[str]:
    receipts = list(receipts)
    with server.client() as client:
        found = client.mget([keys.record(one) for one in receipts]) if receipts else []
    return [one for one, record in zip(receipts, found, strict=True) if record is None]


def _one_round(
    directory: Path, environment: dict[str, str], random: Random, *, durable: bool
) -> tuple[int, int]:
    """How many receipts were given before the power went, and how many of them are gone."""
    fsync = "always" if durable else "everysec"
    server = Valkey(directory, environment=environment, appendonly="yes", appendfsync=fsync)
    server.start()
    producers = Producers(server.url, Limits(durable=durable))
    producers.start()
    try:
        time.sleep(random.uniform(0.02, 0.6))  # the moment is what is tried, not waited for
        _lose_power(server)
    finally:
        producers.stop()
    server.start()
    try:
        return len(producers.receipts), len(_missing(server, producers.receipts))
    finally:
        server.kill()


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_200_power_losses_lose_no_receipt(tmp_path: Path, power_loss: dict[str, str]) -> None:
    random = Random(20261122)
    given = 0
    for number in range(200):
        receipts, missing = _one_round(tmp_path / str(number), power_loss, random, durable=True)
        shutil.rmtree(tmp_path / str(number))
        assert missing == 0
        given += receipts
    assert given > 1000


@pytest.mark.timeout(120)
def test_a_few_power_losses_lose_no_receipt(tmp_path: Path, power_loss: dict[str, str]) -> None:
    random = Random(7)
    rounds = [
        _one_round(tmp_path / str(number), power_loss, random, durable=True) for number in range(8)
    ]
    assert sum(given for given, _ in rounds) > 0
    assert sum(missing for _, missing in rounds) == 0


@pytest.mark.timeout(120)
def test_without_it_a_power_loss_takes_receipts_along(
    tmp_path: Path, power_loss: dict[str, str]
) -> None:
    """What docs/reliability.md says can be lost, and that the tests above would notice."""
    random = Random(7)
    lost = 0
    for number in range(20):
        _, missing = _one_round(tmp_path / str(number), power_loss, random, durable=False)
        lost += missing
        if lost:
            break
    assert lost > 0


def test_a_server_without_an_append_only_file_is_refused(redis_url: str) -> None:
    """Before anything is accepted."""
    ledger = Ledger(connect(redis_url))
    request = StopRequest(user_id="u", task_id="t", request_id="r1")
    with pytest.raises(InvalidSettingsError, match="appendonly yes"):
        ledger.run(commands.accept(Limits(durable=True), [Submission(request)]))
    assert ledger.client.exists(keys.record("r1")) == 0
    ledger.close()


def test_a_server_that_may_answer_before_the_sync_is_refused(tmp_path: Path) -> None:
    """As Valkey 9.1 does under everysec (redis#13793)."""
    server = Valkey(tmp_path, appendonly="yes", appendfsync="everysec").start()
    ledger = Ledger(connect(server.url))
    request = StopRequest(user_id="u", task_id="t", request_id="r1")
    with pytest.raises(InvalidSettingsError, match="appendfsync always"):
        ledger.run(commands.accept(Limits(durable=True), [Submission(request)]))
    assert ledger.client.exists(keys.record("r1")) == 0
    ledger.close()
    server.kill()


def test_a_repeated_accept_waits_for_what_the_first_one_wrote(
    tmp_path: Path, power_loss: dict[str, str]
) -> None:
    """A duplicate's receipt is a receipt: WAITAOF waits for the connection's own writes only."""
    server = Valkey(tmp_path, environment=power_loss, appendonly="yes", appendfsync="always")
    server.start()
    first, second = (Ledger(connect(server.url)) for _ in range(2))
    request = StopRequest(user_id="u", task_id="t", request_id="r1")
    first.run(commands.accept(Limits(), [Submission(request)]))
    (reply,) = second.run(commands.accept(Limits(durable=True), [Submission(request)]))
    assert isinstance(reply, Accepted)
    _lose_power(server)
    for ledger in (first, second):
        ledger.close()
    server.start()
    try:
        assert _missing(server, ["r1"]) == []
    finally:
        server.kill()
