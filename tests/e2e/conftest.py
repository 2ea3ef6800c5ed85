"""A stack of real processes for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.processes import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stack(tmp_path: Path, redis_url: str) -> Iterator[Stack]:
    with Stack(tmp_path, redis_url) as stack:
        yield stack
