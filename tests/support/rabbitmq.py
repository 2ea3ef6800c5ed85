"""RabbitMQ for tests that need one: Debian's, on a port of its own, without its clustering port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_START_S: Final = 90.0
_SERVER: Final = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:" + os.defpath)


def is_installed() -> bool:
    """Whether this machine has one."""
    return _SERVER is not None


needs_rabbitmq = pytest.mark.skipif(_SERVER is None, reason="there is no rabbitmq-server")


class RabbitMq:
    """A broker as a process, in a directory of its own."""

    def __init__(self, directory: Path, port: int, distribution_port: int, epmd_port: int) -> None:
        self._directory = directory
        self.port = port
        self._distribution_port = distribution_port
        self._epmd_port = epmd_port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> Self:
        """Start it, and wait until it takes connections."""
        assert _SERVER is not None
        self._directory.mkdir(parents=True, exist_ok=True)
        for name in ("mnesia", "log"):
            (self._directory / name).mkdir(exist_ok=True)
        name = f"stopline{self.port}@localhost"
        plugins = self._directory / "enabled_plugins"
        plugins.write_text("[].")
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [_SERVER],
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "HOME": str(self._directory),
                    "LANG": "C.UTF-8",
                    "RABBITMQ_NODENAME": name,
                    "RABBITMQ_NODE_PORT": str(self.port),
                    "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                    "RABBITMQ_DIST_PORT": str(self._distribution_port),
                    "RABBITMQ_MNESIA_BASE": str(self._directory / "mnesia"),
                    "RABBITMQ_LOG_BASE": str(self._directory / "log"),
                    "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
                    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
                    "ERL_EPMD_ADDRESS": "127.0.0.1",
                    "ERL_EPMD_PORT": str(self._epmd_port),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait()
        return self

    def _wait(self) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"AMQP\x00\x00\x09\x01")
                    if connection.recv(1):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        pytest.fail((self._directory / "output").read_text("utf-8", "replace")[-2000:])

    def kill(self) -> None:
        """End the server as a crash does; `start` goes on with what it has on disk."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It stands still, and its connections stay."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it, with all that it started."""
        self.kill()
        # Erlang's name server, which it starts as a daemon.
        subprocess.run(
            ["epmd", "-port", str(self._epmd_port), "-kill"], capture_output=True, check=False
        )
