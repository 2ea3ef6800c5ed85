"""How many suspects may fly together."""

from __future__ import annotations

import pytest

from stopline.ledger.values import Grant
from stopline_worker.engine.suspects import Suspects


def _grant(lost: int) -> Grant:
    return Grant(f"r{lost}", "u/t", attempt=1, not_after=1, lease_end=1, lost=lost)


@pytest.fixture
def suspects() -> Suspects:
    return Suspects()


def test_ten_that_were_lost_once_fly_together(suspects: Suspects) -> None:
    assert suspects.take_room() == (10, 1)
    suspects.give_back((10, 1), [_grant(1)] * 4)
    assert suspects.take_room() == (6, 0)


def test_one_that_was_lost_twice_flies_without_other_suspects(suspects: Suspects) -> None:
    room = suspects.take_room()
    suspects.give_back(room, [_grant(2)])
    assert suspects.take_room() == (0, 0)
    assert suspects.landed(_grant(2))
    assert suspects.take_room() == (10, 1)


def test_claims_at_the_same_time_do_not_share_the_room(suspects: Suspects) -> None:
    first, second = suspects.take_room(), suspects.take_room()
    assert second == (0, 0)
    suspects.give_back(second)
    assert suspects.take_room() == (0, 0)
    suspects.give_back(first)
    assert suspects.take_room() == first


def test_who_was_never_lost_is_no_suspect(suspects: Suspects) -> None:
    suspects.give_back(suspects.take_room(), [_grant(0)] * 100)
    assert suspects.take_room() == (10, 1)
    assert not suspects.landed(_grant(0))
