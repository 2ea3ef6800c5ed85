"""Topics of Kafka, read as a member of a group; offsets are committed once the ledger has all."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from stopline_events.sources.port import Message, SourceError, arrival

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka.structs import ConsumerRecord, TopicPartition

_log = logging.getLogger(__name__)
_HEADER_PREFIX: Final = "ce_"
"""Of an event's attributes in Kafka's headers (CloudEvents' Kafka binding, §3.2.3.1)."""


class Kafka:
    """A consumer of some topics.

    Args:
        servers: host:port of brokers, with commas between them.
        topics: the topics.
        group: whose offsets are kept; a new one begins with the oldest message.
        claim_after_s: how long a member may be silent before its partitions go to others.
        options: of aiokafka's consumer: `security_protocol`, `sasl_…`, `ssl_context`.
    """

    identity = "kafka"
    """A position names its topic."""
    is_over = False

    def __init__(
        self,
        servers: str,
        topics: Sequence[str],
        group: str,
        claim_after_s: float,
        options: Mapping[str, Any],
    ) -> None:
        self.name = f"kafka {','.join(topics)}"
        self._topics = tuple(topics)
        self._options = {
            "bootstrap_servers": servers,
            "group_id": group,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "session_timeout_ms": round(claim_after_s * 1000),
            "heartbeat_interval_ms": round(claim_after_s * 1000 / 5),
            **options,
        }
        self._consumer: AIOKafkaConsumer | None = None
        self._is_careful = False
        """Something that the client cannot read lies ahead: records are read one at a time."""

    async def open(self) -> None:
        """Connect, and join the group."""
        await self._drop()
        consumer = AIOKafkaConsumer(*self._topics, **self._options)
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            with suppress(KafkaError, OSError):
                await consumer.stop()
            raise SourceError(f"{self.name}: {_told(error)}") from None
        self._consumer = consumer

    async def read(self, count: int, wait_s: float) -> Sequence[Message]:
        """Those of all partitions that this member has; of each in their order."""
        try:
            if self._is_careful:
                return await self._read_carefully(count, wait_s)
            found = await self._connected.getmany(
                timeout_ms=round(wait_s * 1000), max_records=count
            )
        except (KafkaError, OSError, UnicodeDecodeError) as error:
            # What was read together with it is lost to this consumer: it is opened again.
            self._is_careful = self._is_careful or _is_unreadable(error)
            raise SourceError(f"{self.name}: {_told(error)}") from None
        return _messages(found)

    async def _read_carefully(self, count: int, wait_s: float) -> list[Message]:
        """The same one at a time, until what cannot be read was found."""
        partitions = sorted(self._connected.assignment())
        found: list[Message] = []
        for partition in partitions:
            some = await self._read_partition(partition, count, wait_s / len(partitions))
            found += some
            if any(message.problem for message in some):
                self._is_careful = False
        self._is_careful = self._is_careful and bool(found)
        return found

    async def _read_partition(
        self, partition: TopicPartition, count: int, wait_s: float
    ) -> list[Message]:
        consumer = self._connected
        found: list[Message] = []
        unreadable: int | None = None
        while len(found) < count:
            at = await consumer.position(partition)
            try:
                records = await consumer.getmany(
                    partition, timeout_ms=round(wait_s * 1000), max_records=1
                )
            except (KafkaError, UnicodeDecodeError) as error:
                if not _is_unreadable(error):
                    raise
                # Offsets have gaps: where the next cannot be read either, it is further on.
                unreadable = at
                consumer.seek(partition, at + 1)
                continue
            if unreadable is not None:
                return [*found, _unreadable(partition, unreadable), *_messages(records)]
            if not records:
                break
            found += _messages(records)
        return found

    @property
    def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise SourceError(f"{self.name}: not connected")
        return self._consumer

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Commit the offsets behind them; where a partition went to another member, that has it."""
        ends: dict[TopicPartition, int] = {}
        for message in messages:
            partition, offset = message.handle
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        own = self._connected.assignment()
        offsets = {one: OffsetAndMetadata(end, "") for one, end in ends.items() if one in own}
        if not offsets:
            return
        try:
            await self._connected.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            # They went to another member, which reads them again: nothing is to be mended here.
            _log.info("%s: %s", self.name, _told(error), extra={"action": "commit_refused"})
        except (KafkaError, OSError) as error:
            raise SourceError(f"{self.name}: {_told(error)}") from None

    async def give_back(self, messages: Sequence[Message]) -> None:
        """Go back to the first of them."""
        begins: dict[TopicPartition, int] = {}
        for message in messages:
            partition, offset = message.handle
            begins[partition] = min(begins.get(partition, offset), offset)
        if self._consumer is None:
            return
        for partition, offset in begins.items():
            with suppress(KafkaError, ValueError):  # it went to another member
                self._consumer.seek(partition, offset)

    async def lag(self) -> int | None:
        """What lies behind the committed offsets of its partitions."""
        consumer, behind = self._connected, 0
        try:
            for partition in consumer.assignment():
                end = consumer.highwater(partition)
                done = await consumer.committed(partition)
                if end is not None:
                    behind += max(0, end - (done or 0))
        except (KafkaError, OSError) as error:
            raise SourceError(f"{self.name}: {_told(error)}") from None
        return behind

    async def close(self) -> None:
        """Leave the group."""
        await self._drop()

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError, OSError):
                await consumer.stop()


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def _is_unreadable(error: BaseException) -> bool:
    """Whether the client fails at a record, and will again: it takes headers' names for UTF-8.

    Its part in C says so itself; its part in Python puts it into an error of Kafka's.
    """
    return any(isinstance(one, UnicodeDecodeError) for one in (error, error.__cause__))


def _unreadable(partition: TopicPartition, offset: int) -> Message:
    return Message(
        _position(partition, offset),
        b"",
        handle=(partition, offset),
        problem="the client cannot read it: a header's name is no UTF-8",
    )


def _position(partition: TopicPartition, offset: int) -> str:
    return f"{partition.topic}/{partition.partition}@{offset}"


def _messages(found: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> list[Message]:
    return [_message(partition, record) for partition, some in found.items() for record in some]


def _message(partition: TopicPartition, record: ConsumerRecord) -> Message:
    headers = tuple(
        (_name(name), (value or b"").decode("utf-8", "replace")) for name, value in record.headers
    )
    return Message(
        _position(partition, record.offset),
        record.value or b"",
        headers,
        dict(headers).get("content-type", ""),
        arrival(record.timestamp),
        handle=(partition, record.offset),
        problem=_wrong_attribute(record),
    )


def _wrong_attribute(record: ConsumerRecord) -> str | None:
    """What is wrong with an attribute: `replace` could make one key of two events' ids."""
    for name, value in record.headers:
        try:
            _ = name.lower().startswith(_HEADER_PREFIX) and (value or b"").decode()
        except UnicodeDecodeError:
            return f"the header {name[:80]} is no UTF-8"
    return None


def _name(header: str) -> str:
    """A header's name as HTTP's binding has it."""
    name = header.lower()
    return f"ce-{name.removeprefix(_HEADER_PREFIX)}" if name.startswith(_HEADER_PREFIX) else name
