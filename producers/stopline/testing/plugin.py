"""A pytest plugin: the fixtures `stopline` and `async_stopline`.

They are there once `stopline.testing.plugin` is among a suite's plugins
(`pytest_plugins = ["stopline.testing.plugin"]` in its top `conftest.py`).
"""

from __future__ import annotations

import pytest

from stopline.testing.clients import AsyncFakeStopClient, FakeStopClient
from stopline.testing.world import World


@pytest.fixture
def stopline_world() -> World:
    """The world that the clients of a test share."""
    return World()


@pytest.fixture
def stopline(stopline_world: World) -> FakeStopClient:
    """A fake client."""
    return FakeStopClient(stopline_world)


@pytest.fixture
def async_stopline(stopline_world: World) -> AsyncFakeStopClient:
    """The same for asyncio, in the same world."""
    return AsyncFakeStopClient(stopline_world)
