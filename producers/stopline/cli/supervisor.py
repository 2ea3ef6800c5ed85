"""Runs worker processes: starts them, starts them again when they die, drains them at the end."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stopline.cli.output import announce
from stopline.exits import Exit
from stopline.settings.names import SUPERVISED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

_LOOK_S: Final = 0.2
_RESTART_S: Final = 1.0
WRONG_SETTINGS: Final = frozenset({Exit.BAD_INPUT})
"""They do not get better by starting again."""
_CANNOT_RUN: Final = WRONG_SETTINGS | {Exit.UNAVAILABLE}
_KILL_AFTER_S: Final = 15.0


PYTHON: Final = (sys.executable, "-P")
"""This interpreter, which does not import what lies in the current directory: somebody else may
have put it there, and the token is in the environment."""


def stopline_command(*arguments: str) -> list[str]:
    """A command line of this program, run by this interpreter."""
    return [*PYTHON, "-m", "stopline.cli", *arguments]


@dataclass(slots=True)
class Child:
    """One process under supervision."""

    name: str
    command: Sequence[str]
    pass_fds: Sequence[int] = ()
    """Descriptors that it inherits: a socket that several listen on."""
    is_optional: bool = False
    """The others go on without it, where it cannot run at all."""
    process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str], log: Any) -> None:
        """Start the process in a session of its own: Ctrl-C is the supervisor's to handle."""
        self._close_pipe()
        self.process = subprocess.Popen(  # noqa: S603  # our own program
            self.command,
            env={**environment, SUPERVISED: "1"},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=self.pass_fds,
        )

    def terminate(self) -> None:
        """Ask the process to drain and end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, limit_s: float) -> None:
        """Wait for the end, and kill what does not end in time."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, limit_s))
        except subprocess.TimeoutExpired:
            announce(
                f"{self.name} did not end in time and is killed; its calls will be made again",
                "worker_killed",
            )
            self.process.kill()
            self.process.wait()
        self._close_pipe()

    def _close_pipe(self) -> None:
        """Close the pipe of a process that has ended."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


class Supervisor:
    """Keeps children running until it is told to stop."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        drain_s: float = 20.0,
        log: Any = None,
    ) -> None:
        self._environment = {**os.environ, **(environment or {})}
        self._drain_s = drain_s
        self._log = log
        self._children: list[Child] = []
        self._stop = threading.Event()

    def add(
        self,
        name: str,
        command: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        is_optional: bool = False,
    ) -> Child:
        """Start a child; see `Child`."""
        child = Child(name, command, pass_fds, is_optional)
        child.start(self._environment, self._log)
        self._children.append(child)
        return child

    def request_stop(self) -> None:
        """Make `watch` return; safe in a signal handler."""
        self._stop.set()

    def restart(self) -> None:
        """Have all children drained and started again: what they were told is true no more."""
        for child in self._children:
            child.terminate()

    def watch(
        self,
        look_after: Callable[[], None] = lambda: None,
        *,
        fatal: AbstractSet[int] = _CANNOT_RUN,
    ) -> int | None:
        """Restart children that die, until `request_stop`.

        Args:
            look_after: called again and again, for what else must be kept running.
            fatal: exit codes of children that cannot run at all.

        Returns:
            The exit code of a child that cannot run at all (wrong settings), else None.
        """
        while not self._stop.wait(_LOOK_S):
            look_after()
            for child in tuple(self._children):
                code = child.process.poll() if child.process else None
                if code is None:
                    continue
                if child.is_optional and code in _CANNOT_RUN:
                    text = f"{child.name} cannot run; the others go on without it"
                    announce(text, "gave_up", logging.ERROR)
                    self._children.remove(child)
                    continue
                if code in fatal:
                    return code
                announce(f"{child.name} ended with {code}; it is started again", "worker_ended")
                if self._stop.wait(_RESTART_S):
                    break
                child.start(self._environment, self._log)
        return None

    def stop(self) -> None:
        """Drain all children."""
        for child in self._children:
            child.terminate()
        end = time.monotonic() + self._drain_s + _KILL_AFTER_S
        for child in self._children:
            child.wait(end - time.monotonic())
