"""The ledger's two executors: they run commands, and know nothing of what the commands mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import (
    AuthenticationError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from stopline.errors import (
    InvalidRequestError,
    InvalidSettingsError,
    LedgerFullError,
    UnavailableError,
)
from stopline.ledger import durability, queries, scripts
from stopline.servers import connecting

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    import redis.asyncio
    from redis.commands.core import AsyncScript, Script

    from stopline.ledger.values import Command

T = TypeVar("T")

Arguments = tuple[str | bytes | int, ...]
ScriptSource = Callable[[str], str]
"""Gives the text of a verb's script."""

_AT_ONCE = 50
"""Commands of an asyncio ledger under way: the others wait for their turn, not for connections."""
_TURN_S = 20.0
"""How long one waits for its turn: about as long as a command of a silent Redis takes to fail."""
_PASSING = (ReadOnlyError, MasterDownError, TryAgainError)
_PASSING_CODES = ("NOREPLICAS", "MISCONF", "BUSY", "CLUSTERDOWN", "LOADING", "UNBLOCKED")
"""What a server answers that cannot serve right now; any other refusal is a fault of ours."""


def _is_passing(error: ResponseError) -> bool:
    return isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES)


def _translate(error: RedisError | OSError) -> Exception:
    if isinstance(error, AuthenticationError | NoPermissionError):
        return InvalidSettingsError(
            f"Redis refused the user or password of STOPLINE_REDIS_URL: {error}"
        )
    if isinstance(error, OutOfMemoryError):
        return LedgerFullError(f"Redis is full: {error}. Raise maxmemory, or wait for outcomes.")
    if isinstance(error, ResponseError) and not _is_passing(error):
        return error
    reason = str(error).rstrip(".")
    return UnavailableError(
        f"The ledger cannot be reached: {reason}. Is STOPLINE_REDIS_URL right, and Redis up?"
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of redis-py into Stopline's."""
    try:
        yield
    except UnicodeEncodeError:
        raise InvalidRequestError("an id or a text here is no valid Unicode") from None
    except (RedisError, OSError) as error:
        raise _translate(error) from error


@contextmanager
def durability_refused() -> Iterator[None]:
    """Turn the refusal of WAITAOF into advice, before anything was accepted."""
    try:
        yield
    except ResponseError as error:
        if _is_passing(error) or isinstance(error, AuthenticationError | NoPermissionError):
            raise
        raise durability.refused(str(error)) from error


def _durable_reply(reply: Any, synced: Any) -> Any:
    """The script's reply, if it is on disk; else the error of the one or the other."""
    if isinstance(reply, Exception):
        raise reply
    with durability_refused():
        if isinstance(synced, Exception):
            raise synced
    durability.check_synced(synced)
    return reply


class Ledger:
    """Runs ledger commands on a `redis.Redis` client.

    Raises:
        UnavailableError: Redis cannot be reached.
        LedgerFullError: Redis has no memory left.
        InvalidSettingsError: Redis refuses the user or the password.
    """

    def __init__(self, client: redis.Redis, *, source: ScriptSource = scripts.source) -> None:
        self._client = client
        self._source = source
        self._scripts: dict[str, Script] = {}
        self._can_sync = False

    @property
    def client(self) -> redis.Redis:
        """The client itself, for subscriptions."""
        return self._client

    def run(self, command: Command[T]) -> T:
        """Run one command and parse its reply."""
        with translated():
            reply = self._call(command)
        return command.parse(reply)

    def _call(self, command: Command[T]) -> Any:
        if not command.is_script:
            return self._client.execute_command(command.name, *command.arguments)
        script = self.script(command.name)
        if command.durable:
            return self._call_durably(script, command.arguments)
        return script(args=command.arguments)

    def script(self, name: str) -> Script:
        """A verb's script, which the server may not have yet."""
        script = self._scripts.get(name)
        if script is None:
            registered = self._client.register_script(self._source(name))
            script = self._scripts.setdefault(name, registered)
        return script

    def _call_durably(self, script: Script, arguments: Arguments) -> Any:
        """Run a script, and wait for the disk on the same connection."""
        if not self._can_sync:
            self.check_durability()
        try:
            return self._run_and_sync(script, arguments)
        except Exception:
            self._can_sync = False  # the next connection may be to another server
            raise

    def _run_and_sync(self, script: Script, arguments: Arguments) -> Any:
        for _ in range(2):
            pipe = self._client.pipeline(transaction=False)
            pipe.evalsha(script.sha, 0, *arguments)
            pipe.execute_command(*durability.WAIT)
            reply, synced = pipe.execute(raise_on_error=False)
            if not isinstance(reply, NoScriptError):
                break
            self._client.script_load(script.script)
        return _durable_reply(reply, synced)

    def check_durability(self) -> None:
        """Check, before anything is accepted, that this server can put promises on disk.

        Raises:
            InvalidSettingsError: it cannot.
        """
        with translated(), durability_refused():
            self._client.execute_command(*durability.PROBE)
        server = self.run(queries.info("server"))
        durability.check_server(server, self._told(queries.config("appendfsync")))
        self._can_sync = True

    def _told(self, command: Command[str | None]) -> str | None:
        try:
            return self.run(command)
        except (ResponseError, InvalidSettingsError):  # managed services forbid CONFIG
            return None

    def close(self) -> None:
        """Close the connections."""
        connecting.close(self._client)


class AsyncLedger:
    """Runs ledger commands on a `redis.asyncio.Redis` client; raises as `Ledger` does."""

    def __init__(
        self, client: redis.asyncio.Redis, *, source: ScriptSource = scripts.source
    ) -> None:
        self._client = client
        self._source = source
        self._scripts: dict[str, AsyncScript] = {}
        self._can_sync = False
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def client(self) -> redis.asyncio.Redis:
        """The client itself, for subscriptions."""
        return self._client

    async def run(self, command: Command[T]) -> T:
        """Run one command and parse its reply."""
        await self._turn()
        try:
            return await self._run(command)
        finally:
            self._turns.release()

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(_TURN_S if self._turns.locked() else None):
                await self._turns.acquire()
        except TimeoutError:
            raise UnavailableError(
                f"The ledger had no time for this within {_TURN_S:g} s: {_AT_ONCE} other calls of "
                "this client are under way. Is Redis up, and does it keep up?"
            ) from None

    async def _run(self, command: Command[T]) -> T:
        with translated():
            reply = await self._call(command)
        return command.parse(reply)

    async def _call(self, command: Command[T]) -> Any:
        if not command.is_script:
            return await self._client.execute_command(command.name, *command.arguments)
        script = self._scripts.get(command.name)
        if script is None:
            registered = self._client.register_script(self._source(command.name))
            script = self._scripts.setdefault(command.name, registered)
        if command.durable:
            return await self._call_durably(script, command.arguments)
        return await script(args=command.arguments)

    async def _call_durably(self, script: AsyncScript, arguments: Arguments) -> Any:
        if not self._can_sync:
            await self._check_durability()
        try:
            return await self._run_and_sync(script, arguments)
        except Exception:
            self._can_sync = False  # the next connection may be to another server
            raise

    async def _run_and_sync(self, script: AsyncScript, arguments: Arguments) -> Any:
        for _ in range(2):
            pipe = self._client.pipeline(transaction=False)
            pipe.evalsha(script.sha, 0, *arguments)
            pipe.execute_command(*durability.WAIT)
            reply, synced = await pipe.execute(raise_on_error=False)
            if not isinstance(reply, NoScriptError):
                break
            await self._client.script_load(script.script)
        return _durable_reply(reply, synced)

    async def _check_durability(self) -> None:
        with durability_refused():
            await self._client.execute_command(*durability.PROBE)
        server = await self._run(queries.info("server"))
        durability.check_server(server, await self._told(queries.config("appendfsync")))
        self._can_sync = True

    async def _told(self, command: Command[str | None]) -> str | None:
        try:
            return await self._run(command)
        except (ResponseError, InvalidSettingsError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        await connecting.aclose(self._client)
