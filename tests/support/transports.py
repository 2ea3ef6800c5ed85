"""What the worker's transports work with, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.servers.redis_server import RedisServer
from stopline_worker.intake.redis_transport import Custody
from stopline_worker.liveness.consumption import Consumption

if TYPE_CHECKING:
    from stopline.ledger.values import Junk
    from stopline_worker.intake.quarantine import Quarantine


class Keeper:
    """A quarantine that keeps what it is given in a list."""

    def __init__(self) -> None:
        self.kept: list[Junk] = []

    def keep(self, junk: Junk) -> bool:
        """Keep a message."""
        self.kept.append(junk)
        return True


def custody_of(quarantine: Quarantine | Keeper) -> Custody:
    """That of a transport whose broker is one Redis."""
    return Custody(quarantine, Consumption(), lambda: RedisServer("redis://127.0.0.1:1"))
