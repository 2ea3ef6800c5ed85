"""A NATS JetStream stream, read through a durable pull consumer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import nats
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.client import JetStreamContext

from stopline_events.sources.port import Message, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

_NOT_ACKNOWLEDGED_MAX: Final = 10_000
_CONNECT_S: Final = 5
_AGAIN_S: Final = 1


def _status(message: Msg | None) -> str | None:
    """The status in a message of the server's; in one of a publisher's it means nothing."""
    if message is None or message.reply.startswith("$JS.ACK."):
        return None
    return (message.headers or {}).get("Status")


# nats-py takes each message with a header `Status` for one of the server's own, and drops it or
# fails for ever; this is what it asks.
JetStreamContext.is_status_msg = staticmethod(_status)  # type: ignore[method-assign,assignment]


class NatsJetStream:
    """A durable consumer of a stream.

    Args:
        url: of the servers, with commas between them; user and password may be in it.
        stream: the stream.
        subject: only messages with it; None: all.
        durable: the consumer's name, whose position the server keeps; made where it is not there.
        claim_after_s: so long after it was given, a message that is not acknowledged goes to
            another bridge. A consumer that is there keeps its own.
        credentials: a file of a user's credentials, where the servers ask for one.
    """

    is_over = False

    def __init__(
        self,
        url: str,
        stream: str,
        subject: str | None,
        durable: str,
        claim_after_s: float,
        credentials: Path | None = None,
    ) -> None:
        self.name = self.identity = f"nats {stream}"
        self._url, self._credentials = url, credentials
        self._stream, self._subject, self._durable = stream, subject, durable
        self._claim_after_s = claim_after_s
        self._client: Client | None = None
        self._consumer: JetStreamContext.PullSubscription | None = None

    async def open(self) -> None:
        """Connect, and make the consumer."""
        await self._drop()
        options: dict[str, Any] = {
            "connect_timeout": _CONNECT_S,
            "error_cb": _nothing,
            # The bridge tries again by itself, and says so meanwhile.
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
        }
        if self._credentials is not None:
            options["user_credentials"] = str(self._credentials)
        try:
            self._client = await nats.connect(
                self._url.split(","), name="stopline bridge", **options
            )
            config = ConsumerConfig(
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._claim_after_s,
                max_ack_pending=_NOT_ACKNOWLEDGED_MAX,
            )
            self._consumer = await self._client.jetstream().pull_subscribe(
                self._subject or ">", durable=self._durable, stream=self._stream, config=config
            )
        except (TimeoutError, NatsError, OSError, ValueError) as error:
            await self._drop()
            raise SourceError(f"{self.name}: {_told(error)}") from None

    async def read(self, count: int, wait_s: float) -> Sequence[Message]:
        """Those that the server has for this consumer."""
        if self._consumer is None or self._client is None or not self._client.is_connected:
            raise SourceError(f"{self.name}: not connected")
        try:
            found = await self._consumer.fetch(count, timeout=wait_s)
        except (TimeoutError, NatsTimeoutError):
            return ()
        except (NatsError, OSError) as error:
            raise SourceError(f"{self.name}: {_told(error)}") from None
        return [_message(one) for one in found]

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tell the server; one word that gets lost only makes a message come again."""
        if self._client is None:
            raise SourceError(f"{self.name}: not connected")
        try:
            for message in messages:
                await message.handle.ack()
            await self._client.flush()
        except (TimeoutError, NatsError, OSError) as error:
            raise SourceError(f"{self.name}: {_told(error)}") from None

    async def give_back(self, messages: Sequence[Message]) -> None:
        """Have the server give them again in a moment."""
        with suppress(NatsError, OSError, asyncio.TimeoutError):
            for message in messages:
                await message.handle.nak(delay=_AGAIN_S)

    async def lag(self) -> int | None:
        """What the consumer has not been given, and what it has not acknowledged."""
        if self._consumer is None:
            raise SourceError(f"{self.name}: not connected")
        try:
            info = await self._consumer.consumer_info()
        except (TimeoutError, NatsError, OSError) as error:
            raise SourceError(f"{self.name}: {_told(error)}") from None
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def close(self) -> None:
        """Disconnect; the server gives to others what was not acknowledged."""
        await self._drop()

    async def _drop(self) -> None:
        client, self._client, self._consumer = self._client, None, None
        if client is not None:
            with suppress(NatsError, OSError, asyncio.TimeoutError):
                await client.close()


async def _nothing(_error: Exception) -> None:
    """In the place of nats-py's own, which prints: what fails is told by who asked."""


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def _message(found: Msg) -> Message:
    metadata = found.metadata
    headers = tuple((name.lower(), value) for name, value in (found.headers or {}).items())
    content_type = dict(headers).get("content-type", "")
    return Message(
        str(metadata.sequence.stream),
        found.data,
        headers,
        content_type,
        metadata.timestamp,
        handle=found,
    )
