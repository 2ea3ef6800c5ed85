"""Whoever asks the ledger is told of an outage when there is one, and in time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from stopline import UnavailableError
from stopline.ledger import AsyncLedger, queries
from stopline.servers.connecting import connect
from tests.simulation.virtual_loop import VirtualLoop

_CROWD = 150
"""More than redis-py has connections for by default, and more than an asyncio ledger has turns."""


def test_each_thread_of_a_crowd_has_a_connection(redis_url: str) -> None:
    """redis-py refuses the 101st, in the words of an outage."""
    with connect(redis_url) as client:
        pool = client.connection_pool
        held = [pool.get_connection() for _ in range(_CROWD)]
        for one in held:
            pool.release(one)
    assert len(set(map(id, held))) == _CROWD


def test_nobody_waits_for_ever_for_a_turn() -> None:
    """Of a Redis that went silent, those behind the others hear as well."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    async def run() -> list[BaseException | Any]:
        client: Any = SimpleNamespace(execute_command=never)
        ledger = AsyncLedger(client)
        calls = [asyncio.create_task(ledger.run(queries.info("server"))) for _ in range(_CROWD)]
        await asyncio.sleep(60)
        ended = [one for one in calls if one.done()]
        for one in calls:
            one.cancel()
        return await asyncio.gather(*ended, return_exceptions=True)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        found = runner.run(run())
    assert len(found) == _CROWD - 50
    assert {type(one) for one in found} == {UnavailableError}
    with pytest.raises(UnavailableError, match="had no time for this within 20 s"):
        raise found[0]
