"""Many seeds, in several processes."""

from __future__ import annotations

import faulthandler
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from typing import TYPE_CHECKING, Final

from tests.simulation.ledger import LedgerServer
from tests.simulation.run import Report, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 20


def run_many(first: int, count: int, processes: int) -> Iterator[Report]:
    """The reports of many seeds, as they come."""
    end = first + count
    chunks = [range(start, min(start + _CHUNK, end)) for start in range(first, end, _CHUNK)]
    with ProcessPoolExecutor(processes, initializer=faulthandler.enable) as pool:
        for future in as_completed([pool.submit(_run_chunk, chunk) for chunk in chunks]):
            yield from future.result()


@cache
def _server() -> LedgerServer:
    """One for each process: its scripts are compiled once."""
    return LedgerServer()


def _run_chunk(seeds: range) -> list[Report]:
    """Some seeds on one fakeredis; the story only of those that failed."""
    server = _server()
    reports = [simulate(seed, server) for seed in seeds]
    return [one if one.broken else one.without_story() for one in reports]
