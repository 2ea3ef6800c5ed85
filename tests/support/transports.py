"""What the worker's intake works with, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline.contract import Junk


class Keeper:
    """A quarantine that keeps what it is given in a list."""

    def __init__(self) -> None:
        self.kept: list[Junk] = []

    def keep(self, junk: Junk) -> bool:
        """Keep a message."""
        self.kept.append(junk)
        return True


class Timer:
    """A timer whose time passes when a test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something later."""
        self.calls.append((delay_s, call))

    def pass_all(self) -> None:
        """Whatever was to be called by now, is."""
        due, self.calls = self.calls, []
        for _, call in due:
            call()
