"""The data directory of the embedded server: its owner's alone, and believed in nothing."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import redis

from stopline import (
    InvalidSettingsError,
    UnavailableError,
)
from stopline.servers.embedded import EmbeddedServer, find_running
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.support.processes import Stack


@pytest.fixture
def embedded(stack: Stack) -> Stack:
    """A stack whose commands use the embedded server."""
    stack.settings.update(redis_url=None, data_dir=stack.directory / "data")
    return stack


def test_a_server_that_died_goes_elsewhere_when_its_port_is_taken(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "data") as server:
        before = server.url
        port = int(before.rpartition(":")[2].partition("/")[0])
        with redis.Redis.from_url(before) as client:
            psutil.Process(client.info("server")["process_id"]).kill()
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

            def taken() -> bool:
                with suppress(OSError):
                    stranger.bind(("127.0.0.1", port))
                    stranger.listen()
                    return True
                return False

            wait_until(taken, what="the port")
            wait_until(server.ensure_running, what="the restart")
            assert server.url != before
            assert find_running(tmp_path / "data") == server.url
            assert not server.ensure_running()


def test_a_data_directory_is_made_its_owners_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o777)
    data_dir.chmod(0o777)
    with EmbeddedServer(data_dir):
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_data_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    os.chown(data_dir, 12345, 12345)
    with pytest.raises(InvalidSettingsError, match="belongs to another user"):
        EmbeddedServer(data_dir).start()
    with pytest.raises(InvalidSettingsError, match="belongs to another user"):
        find_running(data_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_what_somebody_else_left_in_a_data_directory_is_not_believed(tmp_path: Path) -> None:
    """A link of theirs, a place where they may write, or a file of theirs: it names a Redis."""
    shared = tmp_path / "shared"
    shared.mkdir()
    state = b'{"url":"redis://127.0.0.1:1/0","run_id":"x"}'
    (shared / "server.json").write_bytes(state)
    link = tmp_path / "link"
    link.symlink_to(shared)
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(InvalidSettingsError, match="belongs to another user"):
        find_running(link)
    os.chown(shared / "server.json", 12345, 12345)
    assert find_running(shared) is None


@pytest.mark.parametrize(
    "state",
    [
        b'{"url":"redis://x:y@[::1","run_id":"x"}',
        b'{"url":5,"run_id":"x"}',
        b'{"url":"unix:///x?foo=1","run_id":"x"}',
        b'{"url":"redis://10.0.0.1:1/0","run_id":"x"}',
        b"[]",
        b"\xff",
    ],
)
def test_a_damaged_data_directory_is_as_good_as_an_empty_one(tmp_path: Path, state: bytes) -> None:
    (tmp_path / "server.json").write_bytes(state)
    (tmp_path / "port").write_text("70000")
    assert find_running(tmp_path) is None
    with EmbeddedServer(tmp_path) as server:
        assert find_running(tmp_path) == server.url


@pytest.mark.timeout(60)
def test_a_fifo_in_a_data_directory_holds_nobody_up(tmp_path: Path) -> None:
    for name in ("server.json", "port"):
        os.mkfifo(tmp_path / name)
    assert find_running(tmp_path) is None


def test_a_full_disk_is_a_sentence(embedded: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with (
        pytest.raises(UnavailableError, match="No space left"),
        EmbeddedServer(embedded.directory / "data"),
    ):
        pass
