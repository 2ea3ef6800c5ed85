"""A ledger with a clock that the test moves, on the real server and on fakeredis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fakeredis
import pytest
import redis

from tests.ledger.desk import Desk
from tests.support.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["real", "fake"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Producer and worker of the ledger in one pair of hands."""
    if request.param == "real":
        client = redis.Redis.from_url(request.getfixturevalue("redis_url"))
    else:
        client = fakeredis.FakeRedis()
    yield Desk(VirtualTime(client, flags=request.param == "real"))
    client.close()
