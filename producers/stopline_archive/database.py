"""The archive's database: SQLite in a file, or PostgreSQL; its tables are made and renewed here."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from stopline.errors import InvalidSettingsError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

_CONNECT_S: Final = 5
_BUSY_S: Final = 10
_STATEMENT_MS: Final = 30_000
_LOCK: Final = 0x57_0B_11_4E
"""PostgreSQL: who migrates holds this; two that start at once do it one after the other."""


_MIGRATING: Final = threading.Lock()
"""alembic keeps what it works on in names of its module: two threads would take each other's."""


def connect(url: URL) -> Engine:
    """An engine; nothing is connected yet."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    options = {"connect_timeout": _CONNECT_S, "options": f"-c statement_timeout={_STATEMENT_MS}"}
    return create_engine(url, connect_args=options, pool_pre_ping=True, hide_parameters=True)


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_S}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # Readers do not wait for the writer; a commit is on disk before an outcome is acknowledged.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.isolation_level = None  # else changes of tables are in no transaction

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Turn errors of the database into Stopline's, which name no password."""
    try:
        yield
    except SQLAlchemyError as error:
        where = engine.url.render_as_string(hide_password=True)
        cause = getattr(error, "orig", None) or error
        said = str(cause).strip().splitlines()
        raise UnavailableError(
            f"The archive at {where} cannot be used: {type(cause).__name__}"
            + (f": {said[0]}" if said else "")
            + ". Is STOPLINE_ARCHIVE_URL right, and the database up?"
        ) from None


def migrate(engine: Engine) -> None:
    """Make the tables, or bring them to what this version knows.

    Raises:
        UnavailableError: the database cannot be reached.
        InvalidSettingsError: its tables are of a later version.
    """
    with _MIGRATING, translated(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = _config()
        config.attributes["connection"] = connection
        if not _is_known(connection, config):
            raise InvalidSettingsError(
                "The archive's tables are of a later version of Stopline: use that one"
            )
        command.upgrade(config, "head")


def is_current(engine: Engine) -> bool:
    """Whether the tables are there, as this version knows them."""
    with translated(engine), engine.connect() as connection:
        config = _config()
        found = MigrationContext.configure(connection).get_current_revision()
        return found == ScriptDirectory.from_config(config).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _is_known(connection: Connection, config: Config) -> bool:
    found = MigrationContext.configure(connection).get_current_revision()
    known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    return found is None or found in known
