"""Arguments that both clients check alike."""

from __future__ import annotations

import pytest

from stopline import InvalidRequestError
from stopline.client.arguments import batch_id_of
from stopline.contract import is_identifier


def test_a_batch_has_the_id_that_it_was_given_or_a_new_one() -> None:
    assert batch_id_of("night-1") == "night-1"
    assert is_identifier(batch_id_of(None))


@pytest.mark.parametrize("batch_id", ['night "A"', "two\nlines", "", ".."])
def test_a_batch_id_that_would_break_the_ledgers_texts_is_refused(batch_id: str) -> None:
    with pytest.raises(InvalidRequestError, match="batch_id") as raised:
        batch_id_of(batch_id)
    assert raised.value.field == "batch_id"
