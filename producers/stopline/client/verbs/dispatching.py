"""Telling workers what the ledger has for them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from stopline.client.verbs.steps import Dispatch, Verb
from stopline.ledger.values import Accepted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline.contract import Lane
    from stopline.ledger.commands import Replies
    from stopline.ledger.values import Promotion


def dispatch(replies: Replies) -> Verb[None]:
    """Dispatch those of some accepted requests that wait for it."""
    told = [one.receipt for one in replies if isinstance(one, Accepted) and one.dispatch]
    yield from dispatch_ids((receipt.lane, receipt.request_id) for receipt in told)


def dispatch_promoted(promoted: Iterable[Promotion]) -> Verb[None]:
    """Dispatch requests that became their targets' active ones."""
    yield from dispatch_ids((one.lane, one.request_id) for one in promoted)


def dispatch_ids(pairs: Iterable[tuple[Lane, str]]) -> Verb[None]:
    """Dispatch ids, the most urgent lane first."""
    ordered = sorted(pairs, key=lambda pair: pair[0].urgency)
    for lane, group in groupby(ordered, key=lambda pair: pair[0]):
        yield Dispatch(lane, tuple(dict.fromkeys(request_id for _, request_id in group)))
