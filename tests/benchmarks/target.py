"""The target server of all benchmarks, compiled and run (`target.c`)."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

SOURCE = Path(__file__).with_name("target.c")


class MissingCompilerError(RuntimeError):
    """There is no C compiler."""


@dataclass(frozen=True, slots=True)
class TargetStats:
    """What the target says of itself."""

    calls: int
    cpu_s: float


class Target:
    """One target server as a process.

    Raises:
        MissingCompilerError: it cannot be compiled here.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        program = self._directory / "target"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise MissingCompilerError("the target server is C: install a compiler (gcc)")
        subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
        self._process = subprocess.Popen([str(program)], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}/bench/{path}", timeout=60) as reply:
            body: bytes = reply.read()
        return body

    def reset(self, latency_ms: float = 0) -> None:
        """Forget the calls, and answer each from now on after the latency."""
        self._get(f"reset/{round(latency_ms * 1000)}")

    @property
    def stats(self) -> TargetStats:
        return TargetStats(**orjson.loads(self._get("stats")))

    def arrivals(self) -> list[tuple[str, int]]:
        """Each call's task and when it came, in nanoseconds of the monotonic clock."""
        lines = self._get("calls").decode().splitlines()
        return [(task, int(at)) for task, at in (line.split() for line in lines)]
