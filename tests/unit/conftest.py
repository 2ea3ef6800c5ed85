"""What several files of unit tests work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.http_server import CLIENTS

if TYPE_CHECKING:
    from tests.support.http_server import Make


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest) -> Make:
    """The class of an HTTP client: what such a test claims, it claims of each."""
    return CLIENTS[request.param]
