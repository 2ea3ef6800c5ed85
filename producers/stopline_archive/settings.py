"""The archive's settings: environment variables with the prefix `STOPLINE_ARCHIVE_`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic reads annotations at run time
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import Field, PositiveInt, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from stopline.errors import InvalidSettingsError
from stopline.settings.environment import EnvironmentSettings
from stopline.settings.secret_files import read_secret

if TYPE_CHECKING:
    from stopline.settings.model import Settings

PREFIX: Final = "STOPLINE_ARCHIVE_"
FILE: Final = "archive.db"
_SERVERS: Final = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_DAYS_MAX: Final = 36_600


class ArchiveSettings(EnvironmentSettings):
    """Every setting with its default. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    url: SecretStr | None = None
    """`postgresql://user@host/database`, or `sqlite:///path`; else SQLite in `DATA_DIR`."""
    url_file: Path | None = None
    password_file: Path | None = None
    """A file with the database's password, where the URL has none."""
    keep_days: PositiveInt | None = Field(default=None, le=_DAYS_MAX)
    """Outcomes go after so many days; None: they stay."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.url is not None and self.url_file is not None:
            msg = f"set either {PREFIX}URL or {PREFIX}URL_FILE, not both"
            raise ValueError(msg)
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings; arguments go before variables and `.env`.

        Raises:
            InvalidSettingsError: naming each variable that is wrong, and what is wrong with it.
        """
        return cls.read({name: value for name, value in overrides.items() if value is not None})

    def address(self, library: Settings) -> URL:
        """Where the archive is; raises `InvalidSettingsError`."""
        given = self._given()
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

    def _given(self) -> str | None:
        if self.url is not None:
            return self.url.get_secret_value()
        return None if self.url_file is None else read_secret(self.url_file, f"{PREFIX}URL_FILE")
