"""Reading outcomes for a sink, and looking how far the sinks are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client.verbs.steps import Verb, run
from stopline.ledger import sinks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import Sinks
    from stopline.ledger.limits import Limits


def open_sink(limits: Limits, name: str, most: int) -> Verb[bool]:
    """Have every outcome kept for a sink, at most so many while it is away; whether it is new."""
    return (yield from run(sinks.open_sink(limits, name, most)))


def forget_sink(limits: Limits, name: str) -> Verb[bool]:
    """Keep nothing for a sink any more; whether there was one."""
    return (yield from run(sinks.forget_sink(limits, name)))


def sink_read(name: str, reader: str, count: int) -> Verb[sinks.Entries]:
    """The next outcomes for a sink."""
    return (yield from run(sinks.read(name, reader, count)))


def sink_take_over(name: str, reader: str, silent_s: float, count: int) -> Verb[sinks.Entries]:
    """Outcomes that readers of a sink have had for so long without a word."""
    return (yield from run(sinks.take_over(name, reader, silent_s, count)))


def sink_acknowledge(name: str, places: Sequence[str]) -> Verb[None]:
    """A sink has kept these."""
    yield from run(sinks.acknowledge(name, places))


def sink_leave(name: str, reader: str) -> Verb[None]:
    """A reader reads no more; what it has not acknowledged stays, for others."""
    yield from run(sinks.leave(name, reader))


def view_sinks(limits: Limits) -> Verb[Sinks]:
    """How far each sink is."""
    return (yield from run(sinks.view(limits)))
