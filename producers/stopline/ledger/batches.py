"""What is read of batches: how far they are, and which request each place of one became. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopline.contract import Batch, OutcomeKind, ReceiptKind, Status, from_microseconds
from stopline.ledger import keys
from stopline.ledger.commands.encoding import options, pairs, text
from stopline.ledger.queries import Alias, parse_status
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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
    finished_at = fields.get("finished_at")
    return Batch(
        batch_id=batch_id,
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
    return sorted((text(chunk) for chunk in reply), key=lambda chunk: (len(chunk), chunk))


def ids(chunk_key: str) -> Command[tuple[str, ...]]:
    """The request ids of one chunk of a batch."""
    return Command(
        "HVALS",
        (chunk_key,),
        lambda reply: tuple(dict.fromkeys(text(value).split(" ")[0] for value in reply)),
        is_script=False,
    )


def places(chunk_key: str) -> Command[tuple[tuple[int | None, str], ...]]:
    """The places of one chunk of a batch with their request ids, in their order."""

    def parse(reply: Sequence[bytes] | dict[bytes, bytes]) -> tuple[tuple[int | None, str], ...]:
        found = [
            (int(place) if place.isdecimal() else None, value.partition(" ")[0])
            for place, value in pairs(reply).items()
        ]
        return tuple(sorted(found, key=lambda one: (one[0] is None, one)))

    return Command("HGETALL", (chunk_key,), parse, is_script=False)


def statuses(request_ids: Sequence[str]) -> Command[tuple[Status | Alias | None, ...]]:
    """Outcome or state of some requests, in their order; None where one is kept no more."""
    names = [key for one in request_ids for key in (keys.result(one), keys.record(one))]

    def parse(reply: Sequence[bytes | None]) -> tuple[Status | Alias | None, ...]:
        return tuple(map(parse_status, request_ids, reply[::2], reply[1::2]))

    return Command("MGET", tuple(names), parse, is_script=False)
