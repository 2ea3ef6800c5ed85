"""The simulated API for demos."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import orjson

from stopline.cli.supervisor import PYTHON
from stopline.errors import UnavailableError
from stopline.settings.names import SIMULATED_TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class SimulatedApi:
    """The simulated API as a process, for as long as the context lasts; its address.

    Args:
        directory: for the file of its faults.
        faults: as docs/operations.md has them.
        token: what callers have to give.
        latency_ms: how long each call takes.

    Raises:
        UnavailableError: it did not start.
    """

    def __init__(
        self,
        directory: Path,
        faults: Sequence[Mapping[str, Any]],
        token: str,
        latency_ms: float = 0,
    ) -> None:
        self._file = directory / "faults.json"
        self._faults = faults
        self._token = token
        self._latency_ms = latency_ms
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        self._file.write_bytes(orjson.dumps(self._faults))
        command = [*PYTHON, "-m", "stopline_simulator", "--port", "0", "--json"]
        command += ["--latency-ms", str(self._latency_ms)]
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [*command, "--faults", str(self._file)],
            env={**os.environ, SIMULATED_TOKEN: self._token},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101  # PIPE above
        line = self._process.stdout.readline()
        if not line:
            raise UnavailableError("The simulated API did not start.")
        return str(orjson.loads(line)["url"])

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
