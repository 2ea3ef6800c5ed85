"""Callbacks: taking them in, sending them, looking at those that were given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stopline.client.verbs.steps import Verb, run
from stopline.contract import Callbacks, CallbackView
from stopline.ledger import callbacks, commands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import Callback
    from stopline.ledger.limits import Limits

_PAGE: Final = 250


def add_callbacks(limits: Limits, some: Sequence[Callback]) -> Verb[int]:
    """Take callbacks in, each once; how many are new."""
    return (yield from run(callbacks.add_callbacks(limits, some))) if some else 0


def claim_callbacks(limits: Limits, limit: int, lease_s: float) -> Verb[tuple[Callback, ...]]:
    """Callbacks that are to be sent now; they come again when the lease is over."""
    return (yield from run(callbacks.claim_callbacks(limits, limit, lease_s)))


def settle_callbacks(limits: Limits, some: Sequence[callbacks.Sent]) -> Verb[int]:
    """Write down what came of sending some."""
    return (yield from run(callbacks.settle_callbacks(limits, some))) if some else 0


def count_callbacks(limits: Limits) -> Verb[Callbacks]:
    """How many wait and were given up, and how late the first that waits is."""
    waiting = yield from run(callbacks.waiting())
    dead = yield from run(callbacks.untold())
    if not waiting:
        return Callbacks(dead=dead)
    first = yield from run(callbacks.first_waiting())
    clock = yield from run(commands.read_clock(limits))
    late_s = None if first is None else max(0.0, (clock.now - first) / 1_000_000)
    return Callbacks(waiting, dead, late_s)


def dead_callbacks(first: int) -> Verb[tuple[int, tuple[CallbackView, ...]]]:
    """Some that were given up, the newest first, and how many were looked at; 0 after the last."""
    found = yield from run(callbacks.dead_ids(first, _PAGE))
    if not found:
        return 0, ()
    views = yield from run(callbacks.views(found))
    return len(found), views


def redrive_callbacks(
    limits: Limits, ids: Sequence[str], *, drop: bool = False
) -> Verb[dict[str, bool]]:
    """Send some again that were given up, or drop them; whether each was one."""
    results: dict[str, bool] = {}
    for first in range(0, len(ids), _PAGE):
        some = ids[first : first + _PAGE]
        found = yield from run(callbacks.redrive_callbacks(limits, some, drop=drop))
        results.update(zip(some, found, strict=True))
    return results
