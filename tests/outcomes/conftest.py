"""The archive in each of the databases that it may be in."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import make_url

from stopline_archive.archive import Archive
from tests.conftest import free_port
from tests.support.postgres import Postgres, needs_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this test process's own, where its user can reach it."""
    with tempfile.TemporaryDirectory(prefix="stopline-postgres-") as name:
        Path(name).chmod(0o755)
        server = Postgres(Path(name) / "server", free_port()).start()
        yield server
        server.kill()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'archive.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    server.run("DROP SCHEMA public CASCADE")
    server.run("CREATE SCHEMA public")
    return server.url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def archive(archive_url: str) -> Iterator[Archive]:
    """An archive with its tables."""
    archive = Archive(make_url(archive_url))
    archive.prepare()
    yield archive
    archive.close()
