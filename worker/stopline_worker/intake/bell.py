"""A bell at a lane's queue: it rings when there are messages, and takes none."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

if TYPE_CHECKING:
    import redis
    from redis.connection import Connection

WAIT_S: Final = 0.5
"""After so long the server answers that there is nothing."""
_QUIET_S: Final = 1.0
_log = logging.getLogger(__name__)


class Bell:
    """Waits at one queue, on a connection of its own, which the event loop watches.

    `BLMOVE` from the end of a list to the same end changes nothing, and blocks while it is empty.

    Args:
        client: has that connection, once the loop's poller has made it.
        queue: the queue.
    """

    def __init__(self, client: redis.Redis, queue: str) -> None:
        self.client = client
        self.queue = queue
        self.name = f"BELL {queue}"
        self._asked_at: float | None = None
        self._quiet_until = 0.0

    def silence(self) -> None:
        """Its connection is new: nothing was asked on it."""
        self._asked_at = None

    def listen(self) -> None:
        """Ask to be told; does nothing if it is asked already."""
        if self._asked_at is None and time.monotonic() >= self._quiet_until:
            self._asked_at = time.monotonic()
            self._connection.send_command(
                "BLMOVE", self.queue, self.queue, "RIGHT", "RIGHT", WAIT_S
            )

    def heard(self) -> bytes | None:
        """Read the answer: the entry that waits next, which stays there; None: there is none.

        Where the server does not tell, it is empty.

        Raises:
            RedisError, OSError: the connection failed; it is closed.
        """
        self._asked_at = None
        try:
            found: bytes | None = self._connection.read_response()
        except OutOfMemoryError:  # a full server refuses what might write
            self._quiet_until = time.monotonic() + _QUIET_S
            return b""
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):  # such as a server that is no master now
                raise
            _log.warning("%s is no list", self.queue, extra={"action": "queue_broken"})
            self._quiet_until = time.monotonic() + _QUIET_S
            return b""
        except Exception:
            self.hang_up()
            raise
        return found

    @property
    def _connection(self) -> Connection:
        found = self.client.connection
        if found is None:
            raise RedisConnectionError("a bell without its connection")
        return found

    def hang_up(self) -> None:
        """Close the connection; the loop notices."""
        self._connection.disconnect()

    def is_overdue(self, patience_s: float) -> bool:
        """Whether the server should have answered long ago: a half-open connection never does."""
        return (
            self._asked_at is not None and time.monotonic() - self._asked_at > WAIT_S + patience_s
        )
