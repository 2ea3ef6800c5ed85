"""The timer of the consumer's event loop, which Celery makes later than what uses it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class LoopTimer:
    """Calls something after some seconds, on the consumer's loop."""

    def __init__(self) -> None:
        self._celerys: Any = None
        self._early: deque[tuple[float, Callable[[], None]]] = deque()

    def wind(self, celerys: Any) -> None:
        """Go by Celery's timer from now on."""
        self._celerys = celerys
        while self._early:
            self.after(*self._early.popleft())

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something after so many seconds."""
        if self._celerys is None:
            self._early.append((delay_s, call))
        else:
            self._celerys.call_after(delay_s, call)
