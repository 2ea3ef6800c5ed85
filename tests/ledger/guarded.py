"""A ledger with guards in one pair of hands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopline.contract import (
    Guard,
    GuardLimit,
    Guards,
    GuardView,
    HoldResult,
    OpenRequest,
    ReceiptKind,
)
from stopline.ledger import guards

if TYPE_CHECKING:
    from tests.ledger.desk import Desk

HELD, ACCEPTED, JOINED = ReceiptKind.HELD, ReceiptKind.ACCEPTED, ReceiptKind.JOINED
LIMITED = Guard(source="policy:*", limit=GuardLimit(requests=3, window_s=60))


def apply(desk: Desk, *rules: Guard) -> None:
    seen = look(desk).version
    assert desk.run(guards.apply_guards(desk.limits, rules, seen, None))


def look(desk: Desk) -> Guards:
    found: Guards = desk.run(guards.guards(desk.limits))
    return found


def view_of(desk: Desk) -> GuardView:
    (view,) = look(desk).views
    return view


def stop(
    desk: Desk, task_id: str, source: str = "policy:a", **fields: Any
) -> tuple[str, ReceiptKind]:
    receipt = desk.stop(task_id, source=source, **fields)
    return receipt.request_id, receipt.receipt


def release(desk: Desk, *ids: str) -> list[HoldResult]:
    words, _ = desk.run(guards.release(desk.limits, ids, None))
    return list(words)


def open_of(desk: Desk, request_id: str) -> OpenRequest:
    found = desk.status(request_id)
    assert isinstance(found, OpenRequest)
    return found
