"""The sink that puts outcomes into the archive, and takes out what is old."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from stopline.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import Outcome
    from stopline_archive.archive import Archive

_log = logging.getLogger(__name__)
_LOOK_S: Final = 600.0
_BREATH_S: Final = 0.1
"""Between two pieces that are taken out: others write meanwhile."""


class Archiving:
    """Keeps outcomes in the archive. The database is asked in threads: it may be slow."""

    name = "archive"

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._is_prepared = False

    async def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Put them in; what is there already stays as it is."""
        if not self._is_prepared:
            await asyncio.to_thread(self._archive.prepare)
            self._is_prepared = True
        await asyncio.to_thread(self._archive.put, outcomes)


async def take_out_for_ever(archive: Archive, keep_days: int) -> None:
    """Now and then take out what ended longer ago than it is to be kept."""
    while True:
        try:
            gone = await _take_out(archive, datetime.now(UTC) - timedelta(days=keep_days))
        except UnavailableError as error:
            _log.warning("old outcomes stay: %s", error, extra={"action": "retention_failed"})
        else:
            if gone:
                _log.info("old outcomes gone", extra={"action": "retention", "outcomes": gone})
        await asyncio.sleep(_LOOK_S)


async def _take_out(archive: Archive, moment: datetime) -> int:
    gone = 0
    while some := await asyncio.to_thread(archive.drop_before, moment):
        gone += some
        await asyncio.sleep(_BREATH_S)
    return gone
