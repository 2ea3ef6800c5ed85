"""Reading outcomes for a sink, and looking how far the sinks are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client.verbs.steps import Verb, run
from stopline.contract import Sinks, SinkView
from stopline.ledger import commands, sinks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.ledger.limits import Limits


def open_sink(limits: Limits, name: str, most: int) -> Verb[bool]:
    """Have every outcome kept for a sink, at most so many while it is away; whether it is new."""
    return (yield from run(sinks.open_sink(limits, name, most)))


def forget_sink(limits: Limits, name: str) -> Verb[bool]:
    """Keep nothing for a sink any more; whether there was one."""
    return (yield from run(sinks.forget_sink(limits, name)))


def sink_read(name: str, reader: str, count: int) -> Verb[sinks.Outcomes]:
    """The next outcomes for a sink."""
    return (yield from run(sinks.read(name, reader, count)))


def sink_take_over(name: str, reader: str, silent_s: float, count: int) -> Verb[sinks.Outcomes]:
    """Outcomes that readers of a sink have had for so long without a word."""
    return (yield from run(sinks.take_over(name, reader, silent_s, count)))


def sink_acknowledge(name: str, places: Sequence[str]) -> Verb[None]:
    """A sink has kept these."""
    yield from run(sinks.acknowledge(name, places))


def sink_leave(name: str, reader: str) -> Verb[None]:
    """A reader that has acknowledged everything reads no more."""
    yield from run(sinks.leave(name, reader))


def view_sinks(limits: Limits) -> Verb[Sinks]:
    """How far each sink is."""
    names = yield from run(sinks.sinks())
    dropped = yield from run(sinks.dropped())
    if not names:
        return Sinks(dropped=dropped)
    clock = yield from run(commands.read_clock(limits))
    found = yield from run(sinks.groups())
    views = []
    for group in found:
        if group.name in names:
            first = yield from _first(group)
            views.append(_view(group, first, clock.server_now))
    return Sinks(tuple(sorted(views, key=lambda one: one.name)), dropped)


def _first(group: sinks.Group) -> Verb[str | None]:
    """The first entry that a sink has not acknowledged, as an id."""
    if group.pending:
        return (yield from run(sinks.first_pending(group.name)))
    return (yield from run(sinks.first_after(group.position)))


def _view(group: sinks.Group, first: str | None, now_us: int) -> SinkView:
    came_us = None if first is None else int(first.partition("-")[0]) * 1000
    waiting = None if group.lag is None else group.lag + group.pending
    oldest_s = None if came_us is None else max(0.0, (now_us - came_us) / 1_000_000)
    return SinkView(group.name, group.readers, waiting, oldest_s)
