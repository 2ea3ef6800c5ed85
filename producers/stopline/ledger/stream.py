"""Commands sent ahead: the next is on its way while the ledger still works on the one before.

One connection, so they run in the order in which they begin. The connection is only the fast way:
whatever goes wrong on it, the command is run again in the ordinary way, with its retries and
errors, since every command of the ledger may be repeated. (Then it may run after its follower.)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis.connection import Connection

    from stopline.ledger.executors import Ledger
    from stopline.ledger.values import Command

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Begun(Generic[T]):
    """A command that was sent, or is still to be run (`is_sent`)."""

    command: Command[T]
    is_sent: bool = False


class Stream:
    """Runs commands of one ledger ahead of their replies. For one thread; `close()` it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection: Connection | None = None
        self._unread: deque[Begun[Any]] = deque()

    def begin(self, command: Command[T]) -> Begun[T]:
        """Send a command; never fails, `finish` does."""
        begun = Begun(command)
        # A durable one waits for the disk on its connection, before anything else is sent there.
        if command.is_script and not command.durable:
            try:
                self._send(begun)
            except (RedisError, OSError):
                self.close()
        return begun

    def finish(self, begun: Begun[T]) -> T:
        """The parsed reply; commands are finished in the order in which they began."""
        if begun.is_sent:
            try:
                return begun.command.parse(self._read(begun))
            except (RedisError, OSError):
                self.close()
        return self._ledger.run(begun.command)

    def close(self) -> None:
        """Give the connection back; replies that nobody read would be taken for others."""
        if self._connection is not None:
            if self._unread:
                self._connection.disconnect()
            self._ledger.client.connection_pool.release(self._connection)
            self._connection = None
        for begun in self._unread:
            begun.is_sent = False
        self._unread.clear()

    def _send(self, begun: Begun[Any]) -> None:
        if self._connection is None:
            self._connection = self._ledger.client.connection_pool.get_connection()
        sha = self._ledger.script(begun.command.name).sha
        # redis-py's health check would take an unread reply for that to its PING.
        arguments = begun.command.arguments
        self._connection.send_command("EVALSHA", sha, 0, *arguments, check_health=not self._unread)
        begun.is_sent = True
        self._unread.append(begun)

    def _read(self, begun: Begun[Any]) -> Any:
        assert self._connection is not None  # noqa: S101  # something was sent on it
        assert self._unread[0] is begun, "commands are finished in their order"  # noqa: S101
        reply = self._connection.read_response()
        self._unread.popleft()
        return reply
