"""A gateway for each test, in this process and on a ledger in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.gateway import Desk, KeyRing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def desk() -> Iterator[Desk]:
    """One without keys."""
    with Desk() as desk:
        yield desk


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    """A file of keys."""
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def locked(keys: KeyRing) -> Iterator[Desk]:
    """One that asks for keys."""
    with Desk(keys_file=keys.path) as desk:
        yield desk
