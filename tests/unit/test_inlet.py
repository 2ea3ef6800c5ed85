"""Each message goes where it belongs, and is acknowledged when somebody else has it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery.worker import state

from stopline import InvalidRequestError, OutcomeKind
from stopline.contract import DISPATCH_TASK, dispatch_entry
from stopline.errors import LedgerFullError, UnavailableError
from stopline.ledger import Ledger, keys, queries
from stopline_worker.intake.celery_view import CeleryView
from stopline_worker.intake.inlet import Inlet
from stopline_worker.intake.lane_queues import Taken
from tests.support.inlet_desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk(real_ledger: Ledger) -> Iterator[Desk]:
    yield Desk(real_ledger)
    state.revoked.clear()


def test_a_round_is_one_call_to_the_ledger_and_one_to_the_broker(desk: Desk) -> None:
    ids = [f"r{n}" for n in range(50)]
    for one in ids:
        desk.take(one, user_id="u", task_id=one)
    assert desk.runtime.asked == 0
    desk.inlet.end_of_round()
    assert desk.runtime.asked == 1
    assert desk.source.acknowledged == ids
    assert desk.source.rounds == 1
    assert desk.runtime.handed == ids
    assert desk.view.told == [("received", one) for one in ids] + [
        ("succeeded", one) for one in ids
    ]


def test_a_bad_one_goes_to_quarantine_alone(desk: Desk) -> None:
    desk.take("good", user_id="u", task_id="1")
    desk.take("bad", user_id="u", task_id="..")
    desk.take("also", user_id="u", task_id="2")
    desk.inlet.end_of_round()
    assert desk.runtime.handed == ["good", "also"]
    assert sorted(desk.source.acknowledged) == ["also", "bad", "good"]
    assert [one.reason.split(":")[0] for one in desk.keeper.kept] == ["task_id"]
    assert isinstance(desk.view.errors[0], InvalidRequestError)


@pytest.mark.parametrize("error", [UnavailableError("away"), LedgerFullError("full")])
def test_what_the_ledger_cannot_take_is_held_and_asked_for_again(
    desk: Desk, error: Exception
) -> None:
    desk.runtime.error = error
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    assert not desk.inlet.has_room
    assert desk.view.held == {"a"}
    assert desk.source.acknowledged == []
    desk.timer.pass_all()
    assert not desk.inlet.has_room
    desk.runtime.error = None
    desk.timer.pass_all()
    assert desk.inlet.has_room
    assert desk.source.acknowledged == desk.runtime.handed == ["a"]
    assert desk.view.held == set()


def test_a_worker_that_ends_gives_back_what_it_holds(desk: Desk) -> None:
    desk.runtime.error = UnavailableError("away")
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    desk.inlet.close()
    assert desk.source.returned == ["a"]
    desk.runtime.error = None
    desk.timer.pass_all()
    assert desk.runtime.handed == []


def test_what_a_lost_connection_delivered_is_forgotten(desk: Desk) -> None:
    desk.runtime.error = UnavailableError("away")
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    desk.inlet.drop(desk.source)
    desk.runtime.error = None
    desk.timer.pass_all()
    assert desk.runtime.handed == desk.source.acknowledged == []


def test_one_that_the_ledger_chokes_on_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours, or of the server's: whatever it is."""
    run = desk.runtime.run

    def choke(command: Any) -> Any:
        if any("poison" in str(one) for one in command.arguments):
            raise RuntimeError("choked")
        return run(command)

    monkeypatch.setattr(desk.runtime, "run", choke)
    for one in ("a", "poison", "b"):
        desk.take(one, user_id="u", task_id=one)
    desk.inlet.end_of_round()
    assert desk.runtime.handed == ["a", "b"]
    assert sorted(desk.source.acknowledged) == ["a", "b", "poison"]
    assert [one.reason for one in desk.keeper.kept] == ["choked"]


def test_a_revoked_message_is_never_accepted(desk: Desk) -> None:
    state.revoked.add("a")
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    assert desk.view.told[-1] == ("revoked", "a")
    assert desk.progress("a") is queries.Progress.UNKNOWN
    assert desk.source.acknowledged == ["a"]


def test_one_that_is_revoked_while_it_is_held_is_not_accepted_either(desk: Desk) -> None:
    desk.runtime.error = UnavailableError("away")
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    state.revoked.add("a")
    desk.runtime.error = None
    desk.timer.pass_all()
    assert desk.progress("a") is queries.Progress.UNKNOWN
    assert desk.view.told[-1] == ("revoked", "a")


def test_a_revocation_after_acceptance_changes_no_outcome(desk: Desk) -> None:
    """It is `cancel` that ends an accepted request."""
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    state.revoked.add("a")
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    assert desk.view.told[-1] == ("revoked", "a")
    assert desk.progress("a") is queries.Progress.OPEN


def test_a_revocation_by_a_worker_that_has_ended_holds(desk: Desk) -> None:
    """Celery's revoke writes it to the results backend; what workers remember goes with them."""
    result = {"status": "REVOKED", "result": {"exc_type": "TaskRevokedError"}, "task_id": "a"}
    desk.runtime._ledger.client.set(keys.result("a"), json.dumps(result))
    desk.take("a", user_id="u", task_id="1")
    desk.take("b", user_id="u", task_id="2")
    desk.inlet.end_of_round()
    assert desk.runtime.handed == ["b"]
    assert ("revoked", "a") in desk.view.told
    assert sorted(desk.source.acknowledged) == ["a", "b"]


def test_a_view_that_fails_harms_no_message(desk: Desk) -> None:
    class _Broken:
        enabled = True

        def send(self, *_: object, **__: object) -> None:
            raise OSError("gone")

    view = CeleryView()
    view.of(SimpleNamespace(event_dispatcher=_Broken(), hostname="w"))
    desk.view = view  # type: ignore[assignment]  # the real one
    desk.inlet = Inlet(desk.runtime, desk.keeper, view, desk.timer)  # type: ignore[arg-type]  # doubles
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    assert desk.runtime.handed == desk.source.acknowledged == ["a"]
    assert desk.keeper.kept == []


def test_the_clock_is_asked_once_a_round_and_not_while_it_is_away(desk: Desk) -> None:
    eta = {"eta": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    for number in range(50):
        desk.take_with(eta, str(number), user_id="u", task_id="1")
    desk.inlet.end_of_round()
    assert desk.runtime.asked == 1
    desk.runtime.error = UnavailableError("away")
    for number in range(50):
        desk.take_with(eta, str(number), user_id="u", task_id="1")
    assert desk.runtime.asked == 2


def test_an_eta_is_waited_for_by_the_ledgers_clock(desk: Desk) -> None:
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)
    desk.take_with({"eta": later.isoformat()}, "later", user_id="u", task_id="1")
    desk.take_with(
        {"eta": (now - timedelta(seconds=1)).isoformat()}, "now", user_id="u", task_id="2"
    )
    desk.inlet.end_of_round()
    assert desk.runtime.handed == desk.source.acknowledged == ["now"]
    assert desk.source.put_off_for == {"later": pytest.approx(3600, abs=60)}


def test_expires_is_not_after(desk: Desk) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    desk.take_with({"expires": past}, "a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    outcome = desk.progress("a")
    assert outcome.outcome is OutcomeKind.EXPIRED
    assert desk.runtime.handed == []


@pytest.mark.parametrize("days", [1, 400])
def test_an_expiry_that_is_far_off_is_taken_as_far_as_it_goes(desk: Desk, days: int) -> None:
    far = datetime.now(UTC) + timedelta(days=days)
    desk.take_with({"expires": far.isoformat()}, "a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    assert desk.runtime.handed == ["a"]


def test_the_lane_is_that_of_the_queue_unless_it_is_named(desk: Desk) -> None:
    desk.take_with({}, "a", queue="stopline.emergency", user_id="u", task_id="1")
    desk.take_with({}, "b", queue="stopline.emergency", user_id="u", task_id="2", lane="bulk")
    desk.inlet.end_of_round()
    lanes = [desk.runtime._ledger.run(queries.status(one)).lane for one in ("a", "b")]
    assert lanes == ["emergency", "bulk"]


def test_ids_are_handed_on(desk: Desk) -> None:
    desk.take("m", task=DISPATCH_TASK, args=[["x", "y"]])
    desk.inlet.end_of_round()
    assert desk.runtime.handed == ["x", "y"]
    assert desk.source.acknowledged == ["m"]


@pytest.mark.parametrize("args", [[["no id!"]], [1], [], [["a"], 2]])
def test_ids_that_are_none_are_kept(desk: Desk, args: list[Any]) -> None:
    desk.take("m", task=DISPATCH_TASK, args=args)
    desk.inlet.end_of_round()
    assert "takes one list" in desk.keeper.kept[0].reason
    assert desk.source.acknowledged == ["m"]


def test_an_unknown_task_is_kept_and_its_sender_told(desk: Desk) -> None:
    desk.take("m", task="nobody.knows")
    desk.inlet.end_of_round()
    assert "unknown task" in desk.keeper.kept[0].reason
    assert desk.view.told == [("failed", "m")]


def test_who_uses_the_id_of_a_request_does_not_get_at_its_outcome(desk: Desk) -> None:
    desk.take("a", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    desk.take("a", user_id="u", task_id="other")
    desk.take("a", task="nobody.knows")
    desk.inlet.end_of_round()
    assert ("failed", "a") not in desk.view.told
    assert len(desk.keeper.kept) == 2


@pytest.mark.parametrize("first", ["good", "bad"])
def test_an_id_that_is_used_twice_in_a_round_has_the_outcome(desk: Desk, first: str) -> None:
    fields = {"good": "1", "bad": ".."}
    for kind in (first, *({"good", "bad"} - {first})):
        desk.take("x", user_id="u", task_id=fields[kind])
    desk.inlet.end_of_round()
    assert desk.runtime.handed == ["x"]
    assert ("failed", "x") not in desk.view.told
    assert desk.runtime._ledger.client.get(keys.result("x")) is None


def test_the_sender_of_what_cannot_be_read_is_told_as_far_as_it_can_be(desk: Desk) -> None:
    desk.take_with({"eta": "soon"}, "x", user_id="u", task_id="1")
    desk.inlet.end_of_round()
    assert ("failed", "x") in desk.view.told
    result = json.loads(desk.runtime._ledger.client.get(keys.result("x")))
    assert result["status"] == "FAILURE"
    assert "eta" in result["result"]["exc_message"][0]


def test_urgent_ids_are_handed_on_once(desk: Desk) -> None:
    entry = dispatch_entry("stopline.emergency", ["x"]).encode()
    desk.inlet.look_ahead(entry)
    assert desk.runtime.handed == ["x"]
    taken = [Taken("stopline.emergency", entry), Taken("stopline.emergency", entry)]
    desk.inlet.take_entries(desk.source, taken)  # type: ignore[arg-type]  # a double
    assert desk.runtime.handed == ["x", "x"], "the second is another message"


def test_what_cannot_be_kept_comes_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.keeper, "keep", lambda _junk: False)
    desk.take("bad", user_id="u", task_id="..")
    desk.inlet.end_of_round()
    assert desk.source.acknowledged == []
    assert list(desk.source.put_off_for) == ["bad"]
