"""What is kept as it comes: every outcome once and in order, who changed what; and rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.contract import Actor, AuditAction, Rate, StopRequest
from stopline.ledger import commands, trails
from stopline.ledger.limits import Limits
from stopline.ledger.values import Submission

if TYPE_CHECKING:
    from stopline.ledger import Ledger

_KEEPS = Limits(outcomes_max=1_000, audit_max=1_000)
_ME = Actor("me", "k1", "10.0.0.7")


def _end(ledger: Ledger, *names: str, limits: Limits = _KEEPS) -> None:
    """Accept requests and cancel them, which is an outcome for each."""
    requests = [StopRequest(user_id="u", task_id=name, request_id=name) for name in names]
    ledger.run(commands.accept(limits, [Submission(one) for one in requests]))
    ledger.run(commands.cancel(limits, names, "me"))


def _places(ledger: Ledger, after: str = trails.FIRST) -> dict[str, str]:
    kept = ledger.run(trails.outcomes_after(after, 1_000))
    return {one.outcome.request_id: one.place for one in kept}


def test_outcomes_are_kept_in_their_order(real_ledger: Ledger) -> None:
    _end(real_ledger, "a", "b", "c")
    places = _places(real_ledger)
    assert list(places) == ["a", "b", "c"]
    assert list(_places(real_ledger, places["b"])) == ["c"]
    assert real_ledger.run(trails.last_outcome()) == places["c"]
    assert 0 < real_ledger.client.ttl("{stopline}:outcomes") <= _KEEPS.dead_letter_ttl_s


def test_who_waits_for_the_next_outcome_gets_none_in_time(real_ledger: Ledger) -> None:
    assert real_ledger.run(trails.outcomes_after(trails.FIRST, 10, 0.05)) == ()


def test_only_the_last_ones_are_kept(real_ledger: Ledger) -> None:
    few = Limits(outcomes_max=10)
    for turn in range(10):
        _end(real_ledger, *(f"{turn}-{number}" for number in range(60)), limits=few)
    places = _places(real_ledger)
    assert 10 <= len(places) < 300, "whole nodes of the stream go at once"
    assert list(places)[-1] == "9-59"
    assert not real_ledger.run(trails.is_kept("1-1"))
    assert real_ledger.run(trails.is_kept(places["9-59"]))


def test_what_is_not_asked_for_is_not_kept(real_ledger: Ledger) -> None:
    _end(real_ledger, "a", limits=Limits())
    assert real_ledger.run(trails.last_outcome()) == trails.FIRST
    assert not real_ledger.client.exists("{stopline}:outcomes", "{stopline}:audit")


def test_the_trail_says_what_came_of_each(real_ledger: Ledger) -> None:
    text = commands.audit_text(AuditAction.STOP, _ME, user_id="u", task_id="t")
    submissions = [
        Submission(StopRequest(user_id="u", task_id="t", request_id="a"), audit=text),
        Submission(StopRequest(user_id="u", task_id="t", request_id="b")),
        Submission(StopRequest(user_id="u", task_id="t", request_id="c"), audit=text),
        Submission(
            StopRequest(user_id="u", task_id="x", not_after="2020-01-01T00:00:00Z"), audit=text
        ),
    ]
    real_ledger.run(commands.accept(Limits(), submissions))
    entries = real_ledger.run(trails.audit_entries("-", "+", 10, newest_first=False))
    assert [(one.receipt, one.follow) for one in entries] == [("accepted", "a"), ("joined", "a")]
    assert {(one.actor, one.key, one.address) for one in entries} == {_ME}
    (newest,) = real_ledger.run(trails.audit_entries("-", "+", 1, newest_first=True))
    assert newest.entry_id == entries[-1].entry_id


def test_the_trail_names_the_tasks_of_what_was_cancelled_or_dropped(real_ledger: Ledger) -> None:
    limits = Limits()
    text = commands.audit_text(AuditAction.CANCEL, _ME, request_ids=["a", "b"])
    for request in (
        StopRequest(user_id="u", task_id="t1", request_id="a"),
        StopRequest(user_id="u", task_id="t2", sub_user_id="s", request_id="b"),
    ):
        real_ledger.run(commands.accept(limits, [Submission(request)]))
    real_ledger.run(commands.cancel(limits, ["a", "b", "nobody"], "me", audit=text))
    late = StopRequest(
        user_id="u", task_id="t3", request_id="late", not_after="2020-01-01T00:00:00Z"
    )
    real_ledger.run(commands.accept(limits, [Submission(late)], expire_late=True))
    text = commands.audit_text(AuditAction.DISCARD, _ME, request_ids=["late"])
    real_ledger.run(commands.discard(limits, ["late"], text))

    cancelled, dropped = real_ledger.run(trails.audit_entries("-", "+", 10, newest_first=False))
    assert cancelled.targets == ("u/t1", "u/t2/s")
    assert dropped.targets == ("u/t3",)
    assert cancelled.is_about("t2")
    assert dropped.is_about("t3")
    assert not cancelled.is_about("t3")


def test_a_long_list_of_ids_is_counted() -> None:
    text = commands.audit_text(AuditAction.CANCEL, _ME, request_ids=[str(n) for n in range(250)])
    assert '"count":250' in text
    assert '"99"' in text
    assert '"100"' not in text


@pytest.mark.parametrize(("wanted", "granted"), [(1, 1), (5, 5), (8, 5)])
def test_a_rate_grants_its_burst(real_ledger: Ledger, wanted: int, granted: int) -> None:
    spent = real_ledger.run(commands.spend(Limits(), "k", Rate(0.001, 5), wanted))
    assert spent.granted == granted
    again = real_ledger.run(commands.spend(Limits(), "k", Rate(0.001, 5), 5))
    assert again.granted == 5 - granted
    assert 0 < again.retry_after_s <= 1_000
    assert real_ledger.run(commands.spend(Limits(), "other", Rate(0.001, 5), 1)).granted == 1
    assert real_ledger.client.ttl("{stopline}:rate:k") > 0


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", Rate(100, 100)),
        ("600/m", Rate(10, 10)),
        ("20/s,burst=100", Rate(20, 100)),
        ("36/h", Rate(0.01, 1)),
    ],
)
def test_a_rate_as_people_write_it(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
