"""What is read of the ledger: queries, built and read by pure functions; none changes anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import orjson

from stopline.contract import (
    Attempt,
    DeadLetter,
    DeadMessage,
    Heartbeat,
    Join,
    OpenRequest,
    Outcome,
    State,
    Status,
    Target,
    from_microseconds,
)
from stopline.ledger import keys, layouts
from stopline.ledger.commands.encoding import text
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_result(raw: bytes) -> Outcome | None:
    """The outcome in a value of Celery's results backend, or None where it is none of ours."""
    result = orjson.loads(raw)["result"]
    if not isinstance(result, dict) or "outcome" not in result:
        return None
    return Outcome.model_validate(result)


def parse_open(request_id: str, record: dict[str, str]) -> OpenRequest:
    """An open request, from the fields of its record."""
    return OpenRequest.model_validate(
        {
            **orjson.loads("{" + record["body"] + "}"),
            "request_id": request_id,
            **Target.parse(record["target"])._asdict(),
            "lane": record["lane"],
            "state": State(record["state"]),
            "joined": _parse_list(Join, record.get("joined", "")),
            "joined_count": int(record.get("joined_count") or 0),
            "attempts": _parse_list(Attempt, record.get("attempts", "")),
            "issued_at": from_microseconds(int(record["issued_at"])),
            "not_after": from_microseconds(int(record["not_after"])),
            "accepted_at": from_microseconds(int(record["accepted_at"])),
            "next_at": from_microseconds(int(record["due_at"])),
            **_hold(record),
        }
    )


def _hold(record: dict[str, str]) -> dict[str, str]:
    """Who holds a request, and why; nothing of one that is not held."""
    if record["state"] != State.HELD:
        return {}
    return {"held_by": record["guard"], "held_for": record["held_for"]}


def _parse_list(model: type[Attempt | Join], objects: str) -> list[Attempt | Join]:
    return [model.model_validate(value) for value in orjson.loads(f"[{objects}]")]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Bytes of all bodies, and how many bodies were cut and messages dropped to make room."""

    body_bytes: int
    cut: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Alias:
    """An id that has no request of its own: the one to follow."""

    request_id: str


def status(request_id: str) -> Command[Status | Alias | None]:
    """Outcome or state of a request; None where the ledger does not know it."""
    return Command(
        "MGET",
        (keys.result(request_id), keys.record(request_id)),
        lambda reply: parse_status(request_id, *reply),
        is_script=False,
    )


def parse_status(
    request_id: str, raw_result: bytes | None, raw_record: bytes | None
) -> Status | Alias | None:
    """The outcome where there is one, else the state; None where the ledger does not know it."""
    if raw_result is not None and (outcome := parse_result(raw_result)) is not None:
        return outcome
    if raw_record is None:
        return None
    record = layouts.RECORD.parse(raw_record)
    if record["state"] == "alias":
        return Alias(record["target"])
    return parse_open(request_id, record)


def outcome(request_id: str) -> Command[Outcome | None]:
    """The outcome of a request, or None where there is none yet."""
    return Command(
        "GET",
        (keys.result(request_id),),
        lambda raw: None if raw is None else parse_result(raw),
        is_script=False,
    )


class Progress(Enum):
    """What there is of a request that has no outcome."""

    OPEN = "open"
    UNKNOWN = "unknown"


def progress(request_id: str) -> Command[Outcome | Progress]:
    """The outcome of a request, or whether there will be one: what a waiter needs to know."""
    of_all = progress_of([request_id])
    return Command("MGET", of_all.arguments, lambda reply: of_all.parse(reply)[0], is_script=False)


def progress_of(request_ids: Sequence[str]) -> Command[tuple[Outcome | Progress, ...]]:
    """The same of some requests, in their order."""
    names = [key for one in request_ids for key in (keys.result(one), keys.record(one))]

    def parse(reply: Sequence[bytes | None]) -> tuple[Outcome | Progress, ...]:
        return tuple(map(_parse_progress, reply[::2], reply[1::2]))

    return Command("MGET", tuple(names), parse, is_script=False)


def _parse_progress(raw_result: bytes | None, raw_record: bytes | None) -> Outcome | Progress:
    if raw_result is not None and (outcome := parse_result(raw_result)) is not None:
        return outcome
    return Progress.UNKNOWN if raw_record is None else Progress.OPEN


@dataclass(frozen=True, slots=True)
class DeadPlace:
    """How far somebody has looked through the dead letters.

    Attributes:
        since: none that died before; microseconds.
        until: none that died later: what is sent again and dies again is not met again.
        newest_first: from the newest to the oldest.
        moment: when the last that was looked at died; None: none was.
        seen: those that died at that very moment and were looked at.
        is_end: there are no more.
    """

    since: int | None = None
    until: int | None = None
    newest_first: bool = False
    moment: int | None = None
    seen: frozenset[str] = frozenset()
    is_end: bool = False

    def after(self, found: Sequence[tuple[str, int]]) -> DeadPlace:
        """The place behind these, which were found from here on."""
        fresh = [one for one in found if one[0] not in self.seen]
        if not fresh:
            return replace(self, is_end=True)
        moment = fresh[-1][1]
        same = frozenset(letter_id for letter_id, at in found if at == moment)
        seen = same | self.seen if moment == self.moment else same
        return replace(self, moment=moment, seen=seen)


def dead_ids(place: DeadPlace, count: int) -> Command[tuple[tuple[str, int], ...]]:
    """Ids of dead letters from a place on, with when they died; some of them it may have seen."""
    low = "-inf" if place.since is None else str(place.since)
    high = "+inf" if place.until is None else str(place.until)
    if place.moment is not None:
        low, high = (low, str(place.moment)) if place.newest_first else (str(place.moment), high)
    limits = ("WITHSCORES", "LIMIT", 0, count + len(place.seen))
    name, ends = "ZRANGEBYSCORE", (low, high)
    if place.newest_first:
        name, ends = "ZREVRANGEBYSCORE", (high, low)
    return Command(name, (keys.DEAD, *ends, *limits), parse_scored, is_script=False)


def parse_scored(reply: Any) -> tuple[tuple[str, int], ...]:
    """Members of a sorted set with their scores, which are microseconds."""
    if reply and not isinstance(reply[0], tuple | list):
        reply = list(zip(reply[::2], reply[1::2], strict=True))
    return tuple((text(member), int(float(score))) for member, score in reply)


def dead_count(until: int) -> Command[int]:
    """How many ids are in the index of dead letters that died until then; microseconds."""
    return Command("ZCOUNT", (keys.DEAD, "-inf", until), int, is_script=False)


def is_dead(letter_id: str) -> Command[bool]:
    """Whether an id is in the index of dead letters."""
    return Command(
        "ZSCORE", (keys.DEAD, letter_id), lambda score: score is not None, is_script=False
    )


def dead_letters(letter_ids: Sequence[str]) -> Command[tuple[DeadLetter | None, ...]]:
    """The documents of dead letters; None where one's time is over."""
    names = [key for one in letter_ids for key in (keys.result(one), keys.message(one))]

    def parse(reply: Sequence[bytes | None]) -> tuple[DeadLetter | None, ...]:
        return tuple(
            _parse_letter(result, message)
            for result, message in zip(reply[::2], reply[1::2], strict=True)
        )

    return Command("MGET", tuple(names), parse, is_script=False)


def _parse_letter(result: bytes | None, message: bytes | None) -> DeadLetter | None:
    if message is not None:
        return _parse_message(message)
    return parse_result(result) if result is not None else None


def _parse_message(raw: bytes) -> DeadMessage:
    """A line of JSON, headers and body; only the first where it was cut to make room for others."""
    known, is_whole, rest = raw.partition(b"\n")
    fields = orjson.loads(known)
    if is_whole:
        headers, _, body = rest.partition(b"\n")
        fields |= {"headers": orjson.loads(headers), "body": body.decode()}
    elif "body" not in fields:  # an earlier version had all in one line
        fields |= {"body": "", "truncated": True}
    return DeadMessage.model_validate(fields)


def quarantine() -> Command[Quarantine]:
    """How much the quarantine holds, and what had to go."""

    def parse(reply: Sequence[bytes | None]) -> Quarantine:
        body_bytes, cut, dropped = (int(value or 0) for value in reply)
        return Quarantine(body_bytes, cut, dropped)

    return Command("HMGET", (keys.QUARANTINE, "bytes", "cut", "dropped"), parse, is_script=False)


def process_ids() -> Command[tuple[str, ...]]:
    """Ids of the worker processes that have a heartbeat."""
    return Command(
        "ZRANGE",
        (keys.PROCESSES, 0, -1),
        lambda reply: tuple(text(process_id) for process_id in reply),
        is_script=False,
    )


def heartbeats(ids: Sequence[str]) -> Command[tuple[Heartbeat, ...]]:
    """The heartbeats of some processes; those whose time is over are left out."""
    return Command(
        "MGET",
        tuple(keys.heartbeat(one) for one in ids),
        lambda reply: tuple(beat for raw in reply if raw and (beat := _parse_heartbeat(raw))),
        is_script=False,
    )


def _parse_heartbeat(raw: bytes) -> Heartbeat | None:
    """None for one that cannot be read: a process of another version must not hide the others."""
    try:
        return Heartbeat.model_validate(orjson.loads(raw))
    except ValueError:
        return None


def info(section: str) -> Command[dict[str, Any]]:
    """A section of the server's INFO, as redis-py parses it."""
    return Command("INFO", (section,), dict, is_script=False)


def ledger_format() -> Command[int | None]:
    """The ledger's format; None: no worker has begun on it yet."""
    given = (keys.FORMAT,)
    return Command("GET", given, lambda reply: int(reply) if reply else None, is_script=False)


def config(name: str) -> Command[str | None]:
    """A setting of the server; None where it does not tell."""

    def parse(reply: Any) -> str | None:
        values = (
            reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        )
        value = values.get(name, values.get(name.encode()))
        return value.decode() if isinstance(value, bytes) else value

    return Command("CONFIG GET", (name,), parse, is_script=False)
