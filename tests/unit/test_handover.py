"""Ids reach an engine that has room, in their order, or are left to the sweeps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from stopline.contract import MESSAGE_IDS_MAX
from stopline_worker.intake.handover import Handover
from stopline_worker.process.inbox import Inbox
from tests.support.transports import Timer

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Inbox:
    """One that takes so many messages."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[list[str]] = []

    def put(self, request_ids: list[str]) -> bool:
        if not self.room:
            return False
        self.room -= 1
        self.taken.append(request_ids)
        return True


def _handover(inbox: _Inbox, timer: Timer, now: list[float]) -> Handover:
    return Handover(inbox, timer, lambda: now[0])  # type: ignore[arg-type]  # doubles


def test_what_is_gathered_goes_together_and_no_more_than_an_engine_takes() -> None:
    inbox, timer = _Inbox(9), Timer()
    handover = _handover(inbox, timer, [0.0])
    for number in range(300):
        handover.add([str(number)])
    handover.flush()
    assert [len(one) for one in inbox.taken] == [MESSAGE_IDS_MAX, 50]
    assert [one for ids in inbox.taken for one in ids] == [str(n) for n in range(300)]
    assert handover.has_room
    assert not timer.calls


def test_full_engines_are_asked_again_until_the_ids_are_due() -> None:
    inbox, timer, now = _Inbox(0), Timer(), [0.0]
    handover = _handover(inbox, timer, now)
    handover.add(["a"])
    handover.flush()
    handover.add(["b"])
    handover.flush()
    assert not handover.has_room
    assert len(timer.calls) == 1
    inbox.room = 1
    timer.pass_all()
    assert inbox.taken == [["a"]]
    assert not handover.has_room
    now[0] = 6.0
    timer.pass_all()
    assert handover.has_room
    assert inbox.taken == [["a"]]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


def test_each_message_reaches_one_engine_and_whole(inbox: Inbox) -> None:
    async def take() -> list[str]:
        return await inbox.take(asyncio.get_running_loop())

    assert inbox.put(["a", "b"])
    assert inbox.put(["c"])
    assert [asyncio.run(take()) for _ in range(2)] == [["a", "b"], ["c"]]


def test_an_inbox_that_nobody_reads_takes_only_a_few_messages(inbox: Inbox) -> None:
    """What the engines cannot take stays on the queues, where other workers find it."""
    put = 0
    while put < 100_000 and inbox.put(["x"]):
        put += 1
    assert put < 100_000
