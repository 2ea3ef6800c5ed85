"""What is read of batches: how far they are, and which request each place of one became. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stopline.contract import (
    MESSAGE_IDS_MAX,
    Batch,
    BatchPause,
    OutcomeKind,
    ReceiptKind,
    Status,
    from_microseconds,
)
from stopline.ledger import keys
from stopline.ledger.commands.encoding import options, pairs, text
from stopline.ledger.queries import Alias, parse_status
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_LOOSE: Final = ":loose"
"""The chunk of those that were sent one by one (`scripts/_places.lua`)."""


def batch(batch_id: str) -> Command[Batch | None]:
    """Progress of a batch; None where the ledger does not know it."""

    def parse(reply: Sequence[bytes] | dict[bytes, bytes]) -> Batch | None:
        fields = pairs(reply)
        return _parse_batch(batch_id, fields) if fields else None

    return Command("HGETALL", (keys.batch(batch_id),), parse, is_script=False)


def batches(batch_ids: Sequence[str]) -> Command[tuple[Batch, ...]]:
    """The same of many; those that the ledger does not know are left out."""

    def parse(reply: Any) -> tuple[Batch, ...]:
        read = zip(batch_ids, map(pairs, reply), strict=True)
        return tuple(_parse_batch(batch_id, fields) for batch_id, fields in read if fields)

    return Command("batches", (options(), *batch_ids), parse)


def _parse_batch(batch_id: str, fields: dict[str, str]) -> Batch:
    finished_at, paused = fields.get("finished_at"), fields.get("paused")
    return Batch(
        batch_id=batch_id,
        name=fields.get("name"),
        source=fields.get("source"),
        reason=fields.get("reason"),
        paused=BatchPause.model_validate_json(paused) if paused else None,
        total=int(fields.get("total", 0)),
        pending=int(fields.get("pending", 0)),
        outcomes={kind: int(fields.get(f"outcome:{kind}", 0)) for kind in OutcomeKind},
        receipts={kind: int(fields.get(f"receipt:{kind}", 0)) for kind in ReceiptKind},
        submitted_at=from_microseconds(int(fields["submitted_at"])),
        finished_at=from_microseconds(int(finished_at)) if finished_at else None,
    )


def chunks(batch_id: str) -> Command[tuple[str, ...]]:
    """The keys that hold the ids of a batch, a hundred each."""
    return Command(
        "SMEMBERS",
        (keys.batch_chunks(batch_id),),
        lambda reply: tuple(keys.batch_places(batch_id, chunk) for chunk in _sorted_chunks(reply)),
        is_script=False,
    )


def _sorted_chunks(reply: Iterable[bytes]) -> list[str]:
    return sorted((text(chunk) for chunk in reply), key=lambda one: (one == "loose", len(one), one))


class Places(NamedTuple):
    """Some places of a batch with their request ids, and where the rest of their chunk begins."""

    found: tuple[tuple[int | None, str], ...]
    cursor: int


def places(chunk_key: str, cursor: int) -> Command[Places]:
    """Places of one chunk of a batch from a cursor on (0: the first), in their order.

    Those that have no place are all in one chunk, which is read in steps; one may be met twice.
    """
    if chunk_key.endswith(_LOOSE):
        given = (chunk_key, cursor, "COUNT", MESSAGE_IDS_MAX)
        return Command("HSCAN", given, _parse_loose, is_script=False)

    def parse(reply: Sequence[bytes] | dict[bytes, bytes]) -> Places:
        found = [(int(place), _request_of(value)) for place, value in pairs(reply).items()]
        return Places(tuple(sorted(found)), 0)

    return Command("HGETALL", (chunk_key,), parse, is_script=False)


def _parse_loose(reply: Any) -> Places:
    cursor, fields = reply
    return Places(tuple((None, _request_of(one)) for one in pairs(fields).values()), int(cursor))


def _request_of(value: str) -> str:
    return value.partition(" ")[0]


def statuses(request_ids: Sequence[str]) -> Command[tuple[Status | Alias | None, ...]]:
    """Outcome or state of some requests, in their order; None where one is kept no more."""
    names = [key for one in request_ids for key in (keys.result(one), keys.record(one))]

    def parse(reply: Sequence[bytes | None]) -> tuple[Status | Alias | None, ...]:
        return tuple(map(parse_status, request_ids, reply[::2], reply[1::2]))

    return Command("MGET", tuple(names), parse, is_script=False)
