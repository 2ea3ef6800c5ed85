"""Rules over events: what fires, what fails, what is refused before it can run."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stopline.contract import Lane
from stopline.policy_file import PolicyFileError
from stopline.testing import AsyncFakeStopClient, World
from stopline_events.bridge import Bridge
from stopline_events.cloud_events import Event
from stopline_events.decisions import Resume, Stop
from stopline_events.policy import Policy, PolicySettings
from stopline_events.rules.book import EVENT_BYTES_MAX
from stopline_events.rules.rule_file import RuleFile, read_rules, unreachable
from tests.events.test_bridge import MemorySource

if TYPE_CHECKING:
    from stopline_events.decisions import Ruled
    from stopline_events.rules.book import RuleBook

_SAMPLES = Path(__file__).parents[2] / "deploy" / "policies"
_NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
_IDS = "user_id: event.data.u\n      task_id: event.data.t"


def _event(data: Any = None, **attributes: Any) -> Event:
    known = {"specversion": "1.0", "id": "1", "source": "/s", "type": "x", "data": data}
    return Event.model_validate({**known, **attributes})


def _rule(name: str, when: str, action: str = f"stop:\n      {_IDS}", more: str = "") -> str:
    return f"  - name: {name}\n    when: {when}\n    {action}\n{more}"


def _book(directory: Path, *rules: str) -> RuleBook:
    file = directory / "rules.yaml"
    file.write_text("rules:\n" + "".join(rules))
    return read_rules(file)


def _decide(book: RuleBook, event: Event) -> Ruled:
    return book.decide(event, arrived_at=_NOW)


_DATA = {"u": "u1", "t": "t1", "n": 3}


def test_the_first_rule_that_is_true_says_what_is_done(tmp_path: Path) -> None:
    book = _book(
        tmp_path,
        _rule("never", "event.data.n > 5"),
        _rule("first", "event.data.n > 2"),
        _rule("second", "true"),
    )
    ruled = _decide(book, _event(_DATA))
    assert [one.rule for one in ruled.fired] == ["first"]
    assert isinstance(ruled.fired[0].action, Stop)
    request = ruled.fired[0].action.request
    assert (request.user_id, request.task_id) == ("u1", "t1")
    assert request.source == "policy:first"
    assert request.issued_at == _NOW
    assert request.idempotency_key == '["/s","1"]'


def test_behind_one_with_also_the_others_are_looked_at(tmp_path: Path) -> None:
    also = "    also: true\n"
    book = _book(tmp_path, _rule("a", "true", more=also), _rule("b", "true"), _rule("c", "true"))
    ruled = _decide(book, _event(_DATA))
    assert [one.rule for one in ruled.fired] == ["a", "b"]
    actions = [one.action for one in ruled.fired]
    keys = [one.request.idempotency_key for one in actions if isinstance(one, Stop)]
    assert len(set(keys)) == 2, "each has a key of its own"


def test_all_fields_of_a_stop_are_expressions(tmp_path: Path) -> None:
    action = (
        "stop:\n"
        "      user_id: event.data.u\n"
        "      task_id: event.data.t\n"
        "      sub_user_id: event.subject\n"
        '      lane: \'event.data.n > 2 ? "emergency" : "bulk"\'\n'
        "      reason: '\"n is \" + string(event.data.n)'\n"
        '      issued_at: timestamp(event.time) - duration("1m")\n'
        "      not_after: '\"2026-11-26T09:00:00Z\"'\n"
    )
    book = _book(tmp_path, _rule("r", "true", action))
    (fired,) = _decide(book, _event(_DATA, subject="sub", time="2026-11-26T08:00:00Z")).fired
    assert isinstance(fired.action, Stop)
    request = fired.action.request
    assert (request.sub_user_id, request.lane, request.reason) == (
        "sub",
        Lane.EMERGENCY,
        "n is 3",
    )
    assert request.issued_at == datetime(2026, 11, 26, 7, 59, tzinfo=UTC)
    assert request.not_after == datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


def test_a_rule_may_tell_of_a_resume(tmp_path: Path) -> None:
    book = _book(tmp_path, _rule("r", "true", f"resume:\n      {_IDS}"))
    (fired,) = _decide(book, _event(_DATA, time="2026-11-26T07:00:00Z")).fired
    assert isinstance(fired.action, Resume)
    assert fired.action.at == datetime(2026, 11, 26, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("event.data.nothing > 1", "Key not found"),
        ("1 / 0 == 1", "divide by zero"),
        ("event.data.n == 3 && event.data.u > 3", "No matching overload"),
        ("event.extension == 1", "Key not found"),
    ],
)
def test_what_fails_is_no_match_and_the_next_is_looked_at(
    tmp_path: Path, when: str, reason: str
) -> None:
    """To Python the library's errors are true."""
    book = _book(tmp_path, _rule("bad", when), _rule("good", "true"))
    ruled = _decide(book, _event(_DATA))
    assert [one.rule for one in ruled.fired] == ["good"]
    assert [one.rule for one in ruled.failed] == ["bad"]
    assert reason.lower() in ruled.failed[0].reason.lower()


@pytest.mark.parametrize(
    "data", [{"u": 5, "t": "t"}, {"u": "u/x", "t": "t"}, {"u": "..", "t": "t"}]
)
def test_what_makes_no_stop_request_fails_too(tmp_path: Path, data: dict[str, Any]) -> None:
    ruled = _decide(_book(tmp_path, _rule("r", "true")), _event(data))
    assert (ruled.fired, [one.rule for one in ruled.failed]) == ((), ["r"])
    assert "user_id" in ruled.failed[0].reason


@pytest.mark.parametrize(
    "data",
    [
        {**_DATA, "big": 2**70, "bigger": -(2**200)},
        {**_DATA, "text": "\ud800".encode("utf-8", "replace").decode(), "deep": [[[[1]]]]},
        {**_DATA, "null": None, "empty": {}, "": 1},
    ],
)
def test_odd_data_is_read_all_the_same(tmp_path: Path, data: dict[str, Any]) -> None:
    ruled = _decide(_book(tmp_path, _rule("r", "event.data.n == 3")), _event(data))
    assert [one.rule for one in ruled.fired] == ["r"]


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({**_DATA, "x": "x" * EVENT_BYTES_MAX}, "larger than"),
        ({**_DATA, "x": _nested(100)}, "nested more than"),
        ({**_DATA, "x": list(range(501))}, "more than 500"),
        ({**_DATA, "x": 10**400}, "too large"),
        ({**_DATA, "x\x00": 1}, "NUL"),
        ({**_DATA, "u": "u1\x00x"}, "NUL"),
    ],
)
def test_what_is_too_much_for_rules_is_told(
    tmp_path: Path, data: dict[str, Any], reason: str
) -> None:
    ruled = _decide(_book(tmp_path, _rule("r", "true")), _event(data))
    assert ruled.fired == ()
    assert reason in ruled.failed[0].reason


def test_no_expression_runs_for_ever(tmp_path: Path) -> None:
    loop = "event.data.l.all(a, event.data.l.all(b, event.data.l.all(c, a + b + c >= 0)))"
    book = _book(tmp_path, _rule("slow", loop), _rule("next", "true"))
    began = time.process_time()
    ruled = _decide(book, _event({**_DATA, "l": list(range(400))}))
    assert time.process_time() - began < 5
    assert [one.rule for one in ruled.failed] == ["slow"]
    assert [one.rule for one in ruled.fired] == ["next"]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (_rule("a", "event.type =="), ":3: rules[0].when: "),
        (_rule("a", "1 + 1"), ":3: rules[0].when: true or false is needed, and this gives INT"),
        (_rule("a", "evnt.x == 1"), ":3: rules[0].when: undeclared reference to 'evnt.x'"),
        (
            _rule("a", "true", f"stop:\n      {_IDS}\n      reason: 1 + 1"),
            ":7: rules[0].stop.reason: a text is needed",
        ),
        (
            _rule("a", "true", f"stop:\n      {_IDS}\n      lan: 1"),
            ":7: rules[0].stop.lan: this field is unknown",
        ),
        (
            _rule("a", "true", "stop:\n      user_id: event.data.u"),
            "rules[0].stop.task_id: this field is required",
        ),
        (_rule("a", "true", "also: true"), ":2: rules[0]: give stop or resume"),
        (_rule("a b", "true"), ":2: rules[0].name"),
        (_rule("a", "true") + _rule("a", "false"), "rules[1].name: a is there twice"),
        (_rule("a", "'" + "(" * 1_900 + "'"), ":3: rules[0].when"),
        (_rule("a", "'" + "x" * 2_001 + "'"), "longer than 2000"),
        (_rule("a", "|\n      true &&\n      evnt"), ":5: rules[0].when"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path: Path, rules: str, told: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        _book(tmp_path, rules)
    assert told in str(caught.value)


def test_a_condition_of_no_known_type_matches_if_it_is_true_and_nothing_else(
    tmp_path: Path,
) -> None:
    book = _book(tmp_path, _rule("a", "event.data.flag"))
    for value, fires in ((True, 1), (False, 0), (1, 0), ("true", 0), ([], 0)):
        assert len(_decide(book, _event({**_DATA, "flag": value})).fired) == fires


def test_rules_that_never_fire_are_found(tmp_path: Path) -> None:
    book = _book(
        tmp_path,
        _rule("a", "event.data.n > 1"),
        _rule("b", "event.data.n  >  1"),
        _rule("c", "true", more="    also: true\n"),
        _rule("d", "true"),
        _rule("e", "event.data.n > 7"),
    )
    assert [name for name, _ in unreachable(book)] == ["b", "e"]


def test_a_changed_file_is_taken_and_a_wrong_one_leaves_the_old_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n" + _rule("a", "true"))
    now = 0.0
    rules = RuleFile(file, lambda: now)
    for text, name, is_wrong in (
        ("rules:\n" + _rule("b", "true"), "b", False),
        ("rules:\n" + _rule("c", "tru"), "b", True),
        ("rules:\n" + _rule("dd", "true"), "dd", False),
    ):
        file.write_text(text)
        now += 2
        assert [one.name for one in rules.book.rules] == [name]
        assert (rules.problem is not None) == is_wrong
    file.unlink()
    now += 2
    assert [one.name for one in rules.book.rules] == ["dd"]
    assert rules.problem is not None
    with pytest.raises(PolicyFileError):
        RuleFile(file)


def test_the_samples_are_right() -> None:
    book = read_rules(_SAMPLES / "policy.yaml")
    assert list(unreachable(book)) == []


def test_a_bridge_does_what_rules_say(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    also = "    also: true\n"
    file.write_text(
        "rules:\n"
        + _rule("a", "event.type == 'x' && event.data.n > 2", more=also)
        + _rule("b", "event.type == 'back'", f"resume:\n      {_IDS}")
        + _rule("bad", "event.type == 'bad' && event.data.missing == 1")
    )
    world = World()
    events = [
        _event(_DATA, id="1"),
        _event(_DATA, id="1"),
        _event({**_DATA, "t": "t2"}, id="2"),
        _event({"u": "u1", "t": "t2"}, id="3", type="back"),
        _event(_DATA, id="4", type="bad"),
        _event(_DATA, id="5", type="nobody"),
    ]
    source = MemorySource(*(one.model_dump(mode="json", exclude={"extensions"}) for one in events))

    async def main() -> dict[str, int]:
        async with AsyncFakeStopClient(world) as client:
            policy = Policy(client, PolicySettings(file=file, record_max=100))
            bridge = Bridge(client, source, policy=policy)
            await bridge.run()
            counts = await client.counts()
            assert counts["rule_fired.a"] == 3
            assert counts["rule_failed.bad"] == 1
            kept = [one async for one in client.events.since(datetime(2020, 1, 1, tzinfo=UTC))]
            assert len(kept) == len(events)
            return dict(bridge.progress.counts)

    counts = asyncio.run(main())
    assert counts == {
        "received": 6,
        "stops": 3,
        "resumes": 1,
        "ignored": 1,
        "failed": 1,
        "quarantined": 0,
    }
