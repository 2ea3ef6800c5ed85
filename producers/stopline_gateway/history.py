"""The archive, as the gateway looks into it: in threads, and only where there is one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from stopline.errors import StoplineError, UnavailableError
from stopline_archive.installed import is_installed
from stopline_gateway.problems import Kind, Problem, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from stopline.contract import Outcome
    from stopline.settings.model import Settings
    from stopline_archive.archive import Archive
    from stopline_archive.places import HistoryFilter, Place

    T = TypeVar("T")

_log = logging.getLogger(__name__)
_FAILED_HOLDS_S: Final = 2.0
PAGE_MAX: Final = 250
_AT_ONCE: Final = 4
"""Threads of the archive's: a database that hangs must not take those of everybody."""


class History:
    """Looks into the archive that the settings name; it is opened when somebody asks."""

    def __init__(self, library: Settings) -> None:
        self._library = library
        self._archive: Archive | None = None
        self._opening = asyncio.Lock()
        self._failed: tuple[float, Problem] | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def page(
        self, wanted: HistoryFilter, after: Place | None, limit: int
    ) -> tuple[tuple[Outcome, ...], Place | None]:
        """Some outcomes, the newest first, and the place behind them.

        Raises:
            Problem: there is no archive here, or it does not answer.
        """
        archive = await self._opened()
        return await self._ask(lambda: archive.page(wanted, after=after, limit=limit))

    async def find(self, request_id: str) -> Outcome | None:
        """The outcome of a request, where there is an archive that has it."""
        try:
            archive = await self._opened()
            return await self._ask(lambda: archive.find(request_id))
        except Problem:
            return None

    def close(self) -> None:
        """Close its connections."""
        if self._archive is not None:
            self._archive.close()

    async def _opened(self) -> Archive:
        async with self._opening:
            if self._archive is None:
                self._check_failed()
                try:
                    self._archive = await asyncio.to_thread(self._open)
                except Problem as problem:
                    self._failed = (asyncio.get_running_loop().time(), problem)
                    raise
            return self._archive

    def _check_failed(self) -> None:
        """What failed a moment ago is not tried again for each who asks: it may take seconds."""
        if not is_installed():
            raise Problem(
                Kind.NO_ARCHIVE, "Here the archive's packages are not installed (outcomes)."
            )
        if self._failed is not None:
            at, problem = self._failed
            if asyncio.get_running_loop().time() - at < _FAILED_HOLDS_S:
                raise Problem(problem.kind, problem.detail)

    def _open(self) -> Archive:
        from stopline_archive.opening import open_archive  # noqa: PLC0415  # may be missing

        try:
            return open_archive(self._library)
        except StoplineError as error:
            _log.warning("no archive: %s", error, extra={"action": "no_archive"})
            raise Problem(Kind.NO_ARCHIVE, _without_place(error)) from None

    async def _ask(self, look: Callable[[], T]) -> T:
        async with self._turns:
            try:
                return await asyncio.to_thread(look)
            except UnavailableError:  # what it said may name hosts
                raise Problem(
                    Kind.UNAVAILABLE, "The archive does not answer.", headers=retry_after(1)
                ) from None


def _without_place(error: StoplineError) -> str:
    """What callers may know: no paths, no hosts."""
    if "no archive yet" in str(error):
        return "There is no archive where this gateway looks (STOPLINE_ARCHIVE_URL)."
    return "The archive cannot be used by this gateway now: see its log."
