"""Opening the archive to look into it, where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stopline.errors import UnavailableError
from stopline_archive.archive import Archive
from stopline_archive.settings import ArchiveSettings

if TYPE_CHECKING:
    from stopline.settings.model import Settings


def open_archive(library: Settings) -> Archive:
    """The archive that the settings name.

    Raises:
        InvalidSettingsError: a setting is wrong.
        UnavailableError: there is none yet, or its tables are of another version.
    """
    url = ArchiveSettings.load().address(library)
    is_file = url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
    if is_file and not Path(str(url.database)).is_file():
        raise UnavailableError(
            f"There is no archive yet ({url.database}): 'stopline outcomes' makes it"
        )
    archive = Archive(url)
    if not archive.is_prepared():
        archive.close()
        raise UnavailableError(
            "The archive has no tables, or those of another version: 'stopline outcomes' of this "
            "version makes them"
        )
    return archive
