"""The archive's settings: environment variables with the prefix `STOPLINE_ARCHIVE_`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic reads annotations at run time
from typing import TYPE_CHECKING, Final

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from stopline.errors import InvalidSettingsError
from stopline.settings.environment import ServiceSettings
from stopline.settings.secret_files import read_secret

if TYPE_CHECKING:
    from stopline.settings.model import Settings

PREFIX: Final = "STOPLINE_ARCHIVE_"
FILE: Final = "archive.db"
_SERVERS: Final = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_DAYS_MAX: Final = 36_600


class ArchiveSettings(ServiceSettings):
    """Every setting with its default. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    url: SecretStr | None = None
    """`postgresql://user@host/database`, or `sqlite:///path`; else SQLite in `DATA_DIR`."""
    url_file: Path | None = None
    password_file: Path | None = None
    """A file with the database's password, where the URL has none."""
    keep_days: PositiveInt | None = Field(default=None, le=_DAYS_MAX)
    """Outcomes go after so many days; None: they stay."""

    def address(self, library: Settings) -> URL:
        """Where the archive is; raises `InvalidSettingsError`."""
        given = self._secret("url")
        if given is None:
            return URL.create("sqlite", database=str(library.data_dir.absolute() / FILE))
        try:
            url = make_url(given)
        except (ArgumentError, ValueError):  # its text has the URL, and with it a password
            raise InvalidSettingsError(f"{PREFIX}URL: this is no URL of a database") from None
        driver = _SERVERS.get(url.drivername, url.drivername)
        if driver not in {"sqlite", *_SERVERS.values()}:
            raise InvalidSettingsError(
                f"{PREFIX}URL: {url.drivername}: postgresql:// and sqlite:// are known"
            )
        if self.password_file is not None:
            password = read_secret(self.password_file, f"{PREFIX}PASSWORD_FILE")
            url = url.set(password=password)
        return url.set(drivername=driver)
