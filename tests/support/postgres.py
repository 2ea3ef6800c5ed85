"""PostgreSQL for tests that need one: Debian's, on a port of its own, killed for real."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final, Self

import psycopg
import pytest

_START_S: Final = 60.0
_PATH: Final = os.pathsep.join(
    [str(one) for one in sorted(Path("/usr/lib/postgresql").glob("*/bin"))] + [os.defpath]
)
_SERVER: Final = shutil.which("postgres", path=_PATH)
_INITDB: Final = shutil.which("initdb", path=_PATH)

needs_postgres = pytest.mark.skipif(_SERVER is None, reason="there is no postgres")


def _user() -> str | None:
    """It refuses to run as root; None: it runs as who runs the tests."""
    if os.geteuid():
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Postgres:
    """A database server as a process, in a directory of its own that its user can reach."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://stopline@127.0.0.1:{self.port}/postgres"

    def start(self) -> Self:
        """Start it, and wait until it takes connections."""
        data = self._directory / "data"
        if not data.exists():
            self._make(data)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}"]
        options += ["-c", f"unix_socket_directories={self._directory}"]
        assert _SERVER is not None
        self._process = subprocess.Popen(
            [_SERVER, "-D", str(data), *options],
            user=_user(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        end = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > end:
                pytest.fail("postgres does not start")
            time.sleep(0.05)
        return self

    def _make(self, data: Path) -> None:
        user = _user()
        self._directory.mkdir(parents=True, exist_ok=True)
        if user is not None:
            shutil.chown(self._directory, user)
        assert _INITDB is not None
        command = [_INITDB, "-D", str(data), "-U", "stopline", "--auth=trust", "--no-sync"]
        done = subprocess.run(command, user=user, capture_output=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr.decode()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def kill(self) -> None:
        """End it at once, with all its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            (self._directory / "data" / "postmaster.pid").unlink(missing_ok=True)

    def run(self, sql: str) -> list[tuple[object, ...]]:
        """Run a statement; its rows, if it has some."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]  # texts of tests
            return list(cursor.fetchall()) if cursor.description else []
