"""Dead letters: found, sent again as a new wish, dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.contract import DeadMessage, Junk, Outcome, OutcomeKind, Refusal, StopRequest
from stopline.ledger import commands, queries
from stopline.ledger.values import Accepted, Submission

if TYPE_CHECKING:
    from tests.ledger.desk import Desk


def _dead(desk: Desk) -> list[str]:
    return [one for one, _ in desk.run(queries.dead_ids(queries.DeadPlace(), 1000))]


def _rejected(desk: Desk, task_id: str = "t") -> str:
    receipt = desk.stop(task_id)
    desk.begin(receipt.request_id).reject()
    return receipt.request_id


def _redrive(desk: Desk, letter_id: str, task_id: str = "t") -> Accepted | Refusal:
    submission = Submission(StopRequest(user_id="u", task_id=task_id), redrive_of=letter_id)
    return desk.run(commands.redrive(desk.limits, [(letter_id, submission)]))[0]


def test_a_rejected_request_is_one_and_a_stopped_one_is_not(desk: Desk) -> None:
    letter_id = _rejected(desk, "a")
    desk.begin(desk.stop("b").request_id).succeed()
    assert _dead(desk) == [letter_id]
    (letter,) = desk.run(queries.dead_letters([letter_id]))
    assert isinstance(letter, Outcome)
    assert letter.outcome is OutcomeKind.REJECTED


def test_redriving_makes_a_new_request_and_keeps_the_old_outcome(desk: Desk) -> None:
    letter_id = _rejected(desk)
    reply = _redrive(desk, letter_id)
    assert isinstance(reply, Accepted)
    assert reply.dispatch
    assert _dead(desk) == []
    assert desk.outcome(letter_id) is OutcomeKind.REJECTED
    desk.begin(reply.receipt.request_id).succeed()
    document = desk.document(reply.receipt.request_id)
    assert (document.outcome, document.redrive_of) == (OutcomeKind.STOPPED, letter_id)


def test_redriving_twice_redrives_once(desk: Desk) -> None:
    letter_id = _rejected(desk)
    assert isinstance(_redrive(desk, letter_id), Accepted)
    second = _redrive(desk, letter_id)
    assert isinstance(second, Refusal)
    assert second.kind == "not_dead"


def test_a_redrive_whose_reply_was_lost_can_be_repeated(desk: Desk) -> None:
    letter_id = _rejected(desk)
    new = Submission(StopRequest(user_id="u", task_id="t"), redrive_of=letter_id)
    command = commands.redrive(desk.limits, [(letter_id, new)])
    first, again = desk.run(command)[0], desk.run(command)[0]
    assert first.receipt.request_id == again.receipt.request_id


def test_a_dropped_one_is_gone_from_the_list_and_its_outcome_stays(desk: Desk) -> None:
    letter_id = _rejected(desk)
    assert desk.run(commands.discard(desk.limits, [letter_id, "nobody"])) == (True, False)
    assert _dead(desk) == []
    assert desk.outcome(letter_id) is OutcomeKind.REJECTED


def test_a_message_is_kept_whole(desk: Desk) -> None:
    junk = Junk("m1", 'no "JSON"', b"{}", queue="stopline.default")
    desk.run(commands.quarantine(desk.limits, junk))
    (message,) = desk.run(queries.dead_letters(_dead(desk)))
    assert isinstance(message, DeadMessage)
    assert (message.message_id, message.body, message.reason) == ("m1", "e30=", 'no "JSON"')
    assert not message.truncated
    assert desk.run(commands.discard(desk.limits, ["m1"])) == (True,)
    assert desk.run(queries.dead_letters(["m1"])) == (None,)


class TestLimits:
    """Quarantined messages are junk: they may not take the memory that stops need."""

    def test_the_oldest_bodies_are_cut_first(self, desk: Desk) -> None:
        length = 4 * 1024 * 1024 - len('{"h":1}\n')
        body = b"A" * (length // 4 * 3)  # base64 has four characters for three bytes
        gone = [_kept(desk, f"m{number}", body) for number in range(6)]
        assert gone == [(0, 0)] * 4 + [(1, 0)] * 2
        letters = desk.run(queries.dead_letters([f"m{number}" for number in range(6)]))
        assert [(one.truncated, len(one.body)) for one in letters] == [(True, 0)] * 2 + [
            (False, length)
        ] * 4
        assert desk.run(queries.quarantine()) == queries.Quarantine(16 * 1024 * 1024, 2, 0)

    def test_of_very_many_the_oldest_go(self, desk: Desk) -> None:
        for number in range(5_000):
            _kept(desk, f"m{number}", b"")
        assert _kept(desk, "last", b"") == (0, 1)
        assert desk.run(queries.dead_letters(["m0"])) == (None,)
        assert not desk.run(queries.is_dead("m0"))
        assert desk.run(queries.is_dead("m1"))

    def test_what_is_dropped_or_over_counts_no_more(self, desk: Desk) -> None:
        _kept(desk, "m1", b"012")
        _kept(desk, "m2", b"012")
        desk.run(commands.discard(desk.limits, ["m1"]))
        assert desk.run(queries.quarantine()).body_bytes == len('{"h":1}\n') + 4
        desk.time.advance(15 * 86400)
        _kept(desk, "m3", b"012345")
        assert desk.run(queries.quarantine()).body_bytes == len('{"h":1}\n') + 8

    def test_what_is_kept_twice_after_a_lost_reply_counts_once(self, desk: Desk) -> None:
        _kept(desk, "m1", b"012")
        _kept(desk, "m1", b"012")
        desk.run(commands.discard(desk.limits, ["m1"]))
        assert desk.run(queries.quarantine()).body_bytes == 0

    def test_headers_count_and_go_as_bodies_do(self, desk: Desk) -> None:
        for number in range(40):
            junk = Junk(f"m{number}", "junk", b"012", headers={"h": "x" * 1024 * 1024})
            desk.run(commands.quarantine(desk.limits, junk))
        assert desk.run(queries.quarantine()).body_bytes <= 16 * 1024 * 1024
        first, last = desk.run(queries.dead_letters(["m0", "m39"]))
        assert (first.headers, first.truncated) == ({}, True)
        assert len(last.headers["h"]) == 1024 * 1024


def _kept(desk: Desk, message_id: str, body: bytes) -> tuple[int, int]:
    junk = Junk(message_id, "junk", body, headers={"h": 1})
    made = desk.run(commands.quarantine(desk.limits, junk))
    return made.cut, made.dropped


@pytest.mark.parametrize("days", [15])
def test_the_index_forgets_what_is_over(desk: Desk, days: int) -> None:
    _rejected(desk, "a")
    desk.time.advance(days * 86400)
    second = _rejected(desk, "b")
    assert _dead(desk) == [second]
