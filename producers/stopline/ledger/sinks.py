"""What leaves: sinks read the stream of outcomes as consumer groups. Pure.

A sink gets each entry, and acknowledges it once it has kept it elsewhere; what a reader that died
had not acknowledged goes to another one. `scripts/_stream.lua` trims behind the slowest sink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from stopline.contract import Outcome, SinkEntry, Sinks, SinkView
from stopline.ledger import keys
from stopline.ledger.commands.encoding import options, text
from stopline.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits


Entries = tuple[SinkEntry, ...]


def open_sink(limits: Limits, name: str, most: int) -> Command[bool]:
    """Have every outcome kept for a sink, at most so many while it is away; whether it is new."""
    return Command("open_sink", (options(limits), name, most), bool)


def forget_sink(limits: Limits, name: str) -> Command[bool]:
    """Keep nothing for a sink any more; whether there was one."""
    return Command("forget_sink", (options(limits), name), bool)


def view(limits: Limits) -> Command[Sinks]:
    """How far the sinks are, and what was lost to them."""
    return Command("sinks", (options(limits),), _parse_view)


def _parse_view(reply: Any) -> Sinks:
    now, dropped, flat = int(reply[0]), int(reply[1]), [_word(one) for one in reply[2]]
    rows = zip(*(flat[field::5] for field in range(5)), strict=True)
    return Sinks(tuple(_view(now, *row) for row in rows), dropped)


def _word(value: Any) -> str:
    return text(value) if isinstance(value, bytes) else str(value)


def _view(now_us: int, name: str, readers: str, pending: str, lag: str, first: str) -> SinkView:
    waiting = int(lag) + int(pending) if lag else None
    came_us = int(first.partition("-")[0]) * 1000 if first else None
    oldest_s = None if came_us is None else max(0.0, (now_us - came_us) / 1_000_000)
    return SinkView(name, int(readers), waiting, oldest_s)


def read(name: str, reader: str, count: int) -> Command[Entries]:
    """The next entries that no reader of a sink has."""
    given = ("GROUP", name, reader, "COUNT", count, "STREAMS", keys.OUTCOMES, ">")
    return Command("XREADGROUP", given, _parse_read, is_script=False)


def take_over(name: str, reader: str, silent_s: float, count: int) -> Command[Entries]:
    """Entries of readers that have not acknowledged them for so long."""
    given = (keys.OUTCOMES, name, reader, round(silent_s * 1000), "0-0", "COUNT", count)
    return Command("XAUTOCLAIM", given, lambda reply: _outcomes(reply[1]), is_script=False)


def acknowledge(name: str, places: Sequence[str]) -> Command[int]:
    """A sink has kept these."""
    return Command("XACK", (keys.OUTCOMES, name, *places), int, is_script=False)


def leave(name: str, reader: str) -> Command[int]:
    """A reader reads no more; what it has not acknowledged stays, for others."""
    return Command("leave_sink", (options(), name, reader), int)


def _parse_read(reply: Any) -> Entries:
    streams = reply.items() if isinstance(reply, dict) else reply or ()
    return tuple(one for _, entries in streams for one in _outcomes(entries))


def _outcomes(entries: Any) -> Entries:
    """Entries that were trimmed meanwhile have no fields, and are left out."""
    return tuple(SinkEntry(text(place), _outcome(fields)) for place, fields in entries if fields)


def _outcome(fields: Any) -> Outcome | None:
    flat = zip(fields[::2], fields[1::2], strict=True) if isinstance(fields, list) else ()
    known = fields if isinstance(fields, dict) else dict(flat)
    for name, value in known.items():
        if text(name) == "outcome":
            try:
                return Outcome.model_validate(orjson.loads(value))
            except ValueError:
                return None
    return None
