"""One look for all who ask at a time; what it finds holds for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Shared(Generic[T]):
    """What many want to know and one looks up.

    Args:
        look: looks; what it raises, all get who wait for it, and the next one looks anew.
        holds_s: for how long others get what was found.
        may_hold: whether what was found is worth keeping.
    """

    def __init__(
        self,
        look: Callable[[], Coroutine[None, None, T]],
        holds_s: float,
        may_hold: Callable[[T], bool] = lambda _found: True,
    ) -> None:
        self._look = look
        self._holds_s = holds_s
        self._may_hold = may_hold
        self._looking: asyncio.Task[T] | None = None
        self._holds_until = float("-inf")

    async def get(self) -> T:
        """What was found lately, or is found now."""
        if self._looking is None or (self._looking.done() and self._is_over()):
            self._looking = asyncio.create_task(self._run())
        return await asyncio.shield(self._looking)  # one who goes away leaves it to the others

    def forget(self) -> None:
        """What was found holds no longer: something was changed since."""
        self._holds_until = float("-inf")

    def _is_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._holds_until

    async def _run(self) -> T:
        self._holds_until = float("-inf")
        found = await self._look()
        if self._may_hold(found):
            self._holds_until = asyncio.get_running_loop().time() + self._holds_s
        return found
