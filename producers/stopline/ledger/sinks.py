"""What leaves: sinks read the stream of outcomes as consumer groups. Pure.

A sink gets each entry, and acknowledges it once it has kept it elsewhere; what a reader that died
had not acknowledged goes to another one. `scripts/_stream.lua` trims behind the slowest sink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from stopline.contract import KeptOutcome, Outcome
from stopline.ledger import keys
from stopline.ledger.commands.encoding import options, text
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits

Outcomes = tuple[KeptOutcome, ...]


class Group(NamedTuple):
    """How far a sink is.

    Attributes:
        name: the sink's.
        readers: how many processes read for it.
        pending: entries that they have, and have not acknowledged.
        lag: entries that none of them has; None: the server does not know.
        position: the last entry that one of them has.
    """

    name: str
    readers: int
    pending: int
    lag: int | None
    position: str


def open_sink(limits: Limits, name: str, most: int) -> Command[bool]:
    """Have every outcome kept for a sink, at most so many while it is away; whether it is new."""
    return Command("open_sink", (options(limits), name, most), bool)


def forget_sink(limits: Limits, name: str) -> Command[bool]:
    """Keep nothing for a sink any more; whether there was one."""
    return Command("forget_sink", (options(limits), name), bool)


def sinks() -> Command[tuple[str, ...]]:
    """The names of all sinks."""
    return Command("GET", (keys.SINKS,), _parse_names, is_script=False)


def dropped() -> Command[int]:
    """How many outcomes went before every sink had them."""
    given = (keys.COUNTS, "outcomes_dropped")
    return Command("HGET", given, lambda reply: int(reply or 0), is_script=False)


def groups() -> Command[tuple[Group, ...]]:
    """How far the readers of outcomes are; raises where there is no stream."""
    given = ("GROUPS", keys.OUTCOMES)
    return Command("XINFO", given, lambda reply: tuple(map(_group, reply)), is_script=False)


def first_after(position: str) -> Command[str | None]:
    """The first entry after a position, if there is one."""
    given = (keys.OUTCOMES, f"({position}", "+", "COUNT", 1)
    return Command(
        "XRANGE", given, lambda reply: text(reply[0][0]) if reply else None, is_script=False
    )


def first_pending(name: str) -> Command[str | None]:
    """The first entry that a reader of a sink has, and has not acknowledged."""

    def parse(reply: Any) -> str | None:
        first = reply["min"] if isinstance(reply, dict) else reply[1]
        return text(first) if first else None

    return Command("XPENDING", (keys.OUTCOMES, name), parse, is_script=False)


def read(name: str, reader: str, count: int) -> Command[Outcomes]:
    """The next entries that no reader of a sink has."""
    given = ("GROUP", name, reader, "COUNT", count, "STREAMS", keys.OUTCOMES, ">")
    return Command("XREADGROUP", given, _parse_read, is_script=False)


def take_over(name: str, reader: str, silent_s: float, count: int) -> Command[Outcomes]:
    """Entries of readers that have not acknowledged them for so long."""
    given = (keys.OUTCOMES, name, reader, round(silent_s * 1000), "0-0", "COUNT", count)
    return Command("XAUTOCLAIM", given, lambda reply: _outcomes(reply[1]), is_script=False)


def acknowledge(name: str, places: Sequence[str]) -> Command[int]:
    """A sink has kept these."""
    return Command("XACK", (keys.OUTCOMES, name, *places), int, is_script=False)


def leave(name: str, reader: str) -> Command[int]:
    """A reader that has acknowledged everything reads no more."""
    given = ("DELCONSUMER", keys.OUTCOMES, name, reader)
    return Command("XGROUP", given, int, is_script=False)


def _parse_names(reply: Any) -> tuple[str, ...]:
    return tuple(text(reply).split("\n")[1:]) if reply else ()


def _group(reply: Any) -> Group:
    pairs = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    found = {name if isinstance(name, str) else text(name): one for name, one in pairs.items()}
    lag = found.get("lag")
    return Group(
        text(found["name"]),
        int(found["consumers"]),
        int(found["pending"]),
        None if lag is None else int(lag),
        text(found["last-delivered-id"]),
    )


def _parse_read(reply: Any) -> Outcomes:
    streams = reply.items() if isinstance(reply, dict) else reply or ()
    return tuple(one for _, entries in streams for one in _outcomes(entries))


def _outcomes(entries: Any) -> Outcomes:
    """Entries that were trimmed meanwhile have no fields, and are left out."""
    return tuple(KeptOutcome(text(place), _outcome(fields)) for place, fields in entries if fields)


def _outcome(fields: Any) -> Outcome:
    flat = zip(fields[::2], fields[1::2], strict=True) if isinstance(fields, list) else ()
    known = fields if isinstance(fields, dict) else dict(flat)
    (document,) = (value for name, value in known.items() if text(name) == "outcome")
    return Outcome.model_validate(orjson.loads(document))
