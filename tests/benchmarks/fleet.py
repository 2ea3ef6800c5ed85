"""The worker processes of one contestant: started, measured and stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STOP_S = 15.0


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """The most memory that one process held, in bytes."""

    name: str
    peak: int


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _peak(process: psutil.Process) -> int:
    """`VmHWM`, the high-water mark of resident memory (proc_pid_status(5))."""
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class Fleet:
    """Runs commands for as long as its context lasts."""

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        environment: Mapping[str, str],
        log: Path,
        directory: Path,
    ) -> None:
        self._commands = commands
        self._environment = {**os.environ, **environment}
        self._log = log
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            for command in self._commands:
                self._processes.append(
                    subprocess.Popen(
                        command,
                        env=self._environment,
                        cwd=self._directory,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        return self

    def __exit__(self, *_: object) -> None:
        everyone = self.processes
        for process in self._processes:
            process.send_signal(signal.SIGTERM)  # nothing happens to one that has ended
        _, alive = psutil.wait_procs(everyone, timeout=_STOP_S)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._processes:
            started.wait()

    @property
    def processes(self) -> list[psutil.Process]:
        """Every process of it, the children too."""
        found = []
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(process.pid)
                found += [root, *root.children(recursive=True)]
        return found

    def kill(self) -> None:
        """End every process of it at once, with SIGKILL."""
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def check_alive(self) -> None:
        """Raises `RuntimeError` with the end of the log where a command ended by itself."""
        for process in self._processes:
            if process.poll() is not None:
                tail = self._log.read_text("utf-8", "replace")[-2000:]
                sys.stderr.write(tail)
                raise RuntimeError(f"{process.args} ended with {process.returncode}")

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU that all of them took since they started."""
        return sum(_cpu_s(process) for process in self.processes)

    @property
    def memory(self) -> list[ProcessMemory]:
        """The peak of each process, the largest first."""
        peaks = [
            ProcessMemory(process.name(), _peak(process))
            for process in self.processes
            if process.is_running()
        ]
        return sorted(peaks, key=lambda one: -one.peak)
