"""A Redis stream, read as one consumer of a group.

What a consumer took and did not acknowledge is its own: a bridge that starts looks at that first,
and takes over what others have left lying for `claim_after_s` (XAUTOCLAIM).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError, ResponseError

from stopline.servers.connecting import aclose, connect_async
from stopline_events.sources.port import Message, SourceError, arrival

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis.asyncio

    from stopline.servers.redis_server import RedisServer

_log = logging.getLogger(__name__)
_FIRST: Final = "0-0"


class RedisStream:
    """A consumer of a group of a stream.

    Args:
        server: the Redis.
        stream: its key.
        group: whose position is kept; made where it is not there, from the first entry on.
        consumer: who reads: the same name after a restart finds at once what it was at. (Two with
            one name do some of the same, which doubles nothing.)
        claim_after_s: how long a consumer may be silent before its messages go to others.
        clock: seconds, for looking after others.
    """

    is_over = False

    def __init__(
        self,
        server: RedisServer,
        stream: str,
        group: str,
        consumer: str,
        claim_after_s: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name = self.identity = f"redis-stream {stream}"
        self._server = server
        self._stream, self._group, self._consumer = stream, group, consumer
        self._claim_after_ms = round(claim_after_s * 1000)
        self._clock = clock or asyncio.get_running_loop().time
        self._client: redis.asyncio.Redis | None = None
        self._own_from: str | None = _FIRST
        """After which of its own it looks; None: it has looked at them all."""
        self._claim_from = _FIRST
        self._claim_at = 0.0

    async def open(self) -> None:
        """Connect, and make the group."""
        await self._drop()
        self._client = connect_async(self._server)
        self._own_from = _FIRST
        try:
            await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise SourceError(f"{self.name}: {error}") from None
        except (RedisError, OSError) as error:
            raise SourceError(f"{self.name}: {error}") from None

    @property
    def _connected(self) -> redis.asyncio.Redis:
        if self._client is None:
            raise SourceError(f"{self.name}: not connected")
        return self._client

    async def read(self, count: int, wait_s: float) -> Sequence[Message]:
        """Its own that were left, then those of others that are gone, then new ones."""
        try:
            while self._own_from is not None:
                found = await self._read_own(self._own_from, count)
                if found:
                    return found
            if self._clock() >= self._claim_at:
                found = await self._claim(count)
                if found:
                    return found
            return await self._read_new(count, wait_s)
        except (RedisError, OSError) as error:
            raise SourceError(f"{self.name}: {error}") from None

    async def _read_own(self, after: str, count: int) -> list[Message]:
        reply = await self._connected.xreadgroup(
            self._group, self._consumer, {self._stream: after}, count=count
        )
        entries = _entries(reply)
        self._own_from = entries[-1][0].decode() if entries else None
        return await self._messages(entries)

    async def _claim(self, count: int) -> list[Message]:
        reply: Any = await self._connected.xautoclaim(
            self._stream,
            self._group,
            self._consumer,
            self._claim_after_ms,
            self._claim_from,
            count=count,
        )
        self._claim_from = reply[0].decode()
        if self._claim_from == _FIRST:  # once through
            self._claim_at = self._clock() + self._claim_after_ms / 2000
        if len(reply) > 2 and reply[2]:  # noqa: PLR2004  # servers from 7 on tell what is gone
            self._tell_gone(len(reply[2]))
        return await self._messages(reply[1])

    async def _read_new(self, count: int, wait_s: float) -> list[Message]:
        reply = await self._connected.xreadgroup(
            self._group,
            self._consumer,
            {self._stream: ">"},
            count=count,
            block=max(1, round(wait_s * 1000)),
        )
        return await self._messages(_entries(reply))

    async def _messages(self, entries: Sequence[Any]) -> list[Message]:
        """Messages of entries; one that somebody trimmed or deleted is done."""
        gone = [place for place, fields in entries if not fields]
        if gone:
            self._tell_gone(len(gone))
        known = [place for place in gone if place is not None]
        if known:
            await self._connected.xack(self._stream, self._group, *known)
        return [_message(place.decode(), fields) for place, fields in entries if fields]

    def _tell_gone(self, count: int) -> None:
        _log.warning(
            "%s: %d entries were trimmed before they were handled",
            self.name,
            count,
            extra={"action": "entries_gone"},
        )

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Take them off the group's list."""
        try:
            places = [message.handle for message in messages]
            await self._connected.xack(self._stream, self._group, *places)
        except (RedisError, OSError) as error:
            raise SourceError(f"{self.name}: {error}") from None

    async def give_back(self, messages: Sequence[Message]) -> None:  # noqa: ARG002  # all its own
        """Look at its own again."""
        self._own_from = _FIRST

    async def lag(self) -> int | None:
        """What the group has not been given, and what it was given and has not acknowledged."""
        try:
            groups = await self._connected.xinfo_groups(self._stream)
        except (RedisError, OSError) as error:
            raise SourceError(f"{self.name}: {error}") from None
        for one in groups:
            if one["name"] == self._group.encode() and one.get("lag") is not None:
                return int(one["lag"]) + int(one["pending"])
        return None

    async def close(self) -> None:
        """Disconnect; its own go to whoever claims them."""
        await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(RedisError, OSError):
                await aclose(client)


def _entries(reply: Any) -> list[Any]:
    streams = reply.values() if isinstance(reply, dict) else [pair[1] for pair in reply or ()]
    return [entry for entries in streams for entry in entries]


def _message(place: str, fields: dict[bytes, bytes]) -> Message:
    """A message of an entry: its one field if that holds a document, else its fields."""
    arrived_at = arrival(int(place.partition("-")[0]))
    if len(fields) == 1:
        (body,) = fields.values()
        if body.lstrip()[:1] in {b"{", b"["}:
            return Message(place, body, arrived_at=arrived_at, handle=place)
    texts = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "surrogateescape")
        for name, value in fields.items()
    }
    return Message(place, b"", arrived_at=arrived_at, fields=texts, handle=place)
