"""The scripts are what their headers say, and agree with Python."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from stopline.contract import (
    DEAD_OUTCOMES,
    Junk,
    Lane,
    OutcomeKind,
    Rate,
    ReceiptKind,
    RefusalKind,
    StopRequest,
    Target,
)
from stopline.ledger import commands, guards, keys, layouts, scripts, values
from stopline.ledger.commands import accepting
from stopline.ledger.limits import GateLimits, Limits

FILES = sorted(
    entry.name.removesuffix(".lua")
    for entry in resources.files("stopline.ledger").joinpath("scripts").iterdir()
)
VERBS = [name for name in FILES if not name.startswith("_")]
_LIMITS = Limits(durable=True, upstream_failures_max=1)
_REQUEST = values.Submission(StopRequest(user_id="u", task_id="t"))
DURABLE = {
    command.name
    for command in (
        commands.accept(_LIMITS, [_REQUEST]),
        commands.redrive(_LIMITS, [("r", _REQUEST)]),
        commands.pause_batch(_LIMITS, "b", "me", "why", None),
        commands.cancel(_LIMITS, ["r"], "me"),
        commands.resume(_LIMITS, Target("u", "t"), None),
        commands.claim(_LIMITS, ["r"], "e:1"),
        commands.claim_due(_LIMITS, list(Lane), "e:1", limit=1),
        commands.renew(_LIMITS, [("r", "e:1.1")]),
        commands.settle(_LIMITS, [values.Released("r", "e:1.1")]),
        commands.discard(_LIMITS, ["r"]),
        commands.spend(_LIMITS, "k", Rate(1, 1), 1),
        commands.quarantine(_LIMITS, Junk("m", "junk", b"")),
        commands.leave("p"),
        commands.read_clock(_LIMITS),
        guards.apply_guards(_LIMITS, [], "", None),
        guards.reset_guard(_LIMITS, "s", None),
        guards.release(_LIMITS, ["r"], None),
    )
    if command.durable
}
"""The verbs whose replies are promises; in their scripts there must be something to wait for."""
TELLING = {"accept", "redrive"}
"""The verbs that put messages on the lanes' queues, and into the audit trail who sent what."""
PARTS = [name for name in FILES if name.startswith("_") and name != "_rehearsal"]
"""That one stands in the place of `redis`, for all who come after it."""


def _code(name: str) -> str:
    """A file without its comments and the texts in it."""
    text = re.sub(r"--[^\n]*", "", scripts.read(name))
    return re.sub(r"'(?:[^'\\\n]|\\.)*'", "''", text)


def _names(pattern: str, code: str) -> set[str]:
    lists = re.findall(pattern, code, re.MULTILINE)
    return {name for one in lists for name in re.findall(r"\w+", one)}


def _defined(name: str) -> set[str]:
    """What a part has for others: its local functions and variables."""
    code = _code(name)
    functions = _names(r"^local function (\w+)", code)
    return functions | _names(r"^local (?!function)([\w, ]+)", code)


def _own(name: str) -> set[str]:
    """Every name that a file gives to something itself."""
    code = _code(name)
    own = _names(r"\blocal (?!function)([\w, \n]+?)(?= =|\n|$)", code)
    own |= _names(r"function \w*\(([\w, ]*)\)", code) | _names(r"for ([\w, ]+) (?:in|=)", code)
    return own | _names(r"local function (\w+)", code)


def _used(name: str) -> set[str]:
    """Every name that a file uses of others: no fields of tables, nothing of its own."""
    code = re.sub(r"[.:]\w+", "", _code(name))
    fields = r"(?<=[{,(\n ])(\w+) = "  # in a table's constructor; assignments go with them
    return set(re.findall(r"[A-Za-z_]\w*", re.sub(fields, "", code))) - _own(name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_the_parts_that_it_uses_and_no_other(name: str) -> None:
    used = _used(name)
    parts = [part for part in [*PARTS, "_layouts", "_queues", "_buckets"] if part != name]
    expected = {part.removeprefix("_") for part in parts if used & _defined(part)}
    if name in DURABLE:
        expected.add("durable")  # says what it has to when the others commit
    if name in TELLING:
        expected |= {"tell", "trail"}  # the same
    assert set(scripts.required(scripts.read(name))) == expected


@pytest.mark.parametrize("name", VERBS)
def test_each_part_stands_after_those_that_it_needs(name: str) -> None:
    parts = scripts.parts_of(name)
    for index, part in enumerate(parts):
        assert set(scripts.required(scripts.read(f"_{part}"))) <= set(parts[:index])


@pytest.mark.parametrize("name", VERBS)
def test_a_header_tells_the_options_that_a_script_reads(name: str) -> None:
    header = re.search(
        r"^-- ARGV +1 options \(JSON\): (.*?)^-- +(?:2|returns)",
        scripts.read(name),
        re.MULTILINE | re.DOTALL,
    )
    assert header is not None
    told = set(
        re.findall(
            r"[a-z]+(?:_[a-z]+)+|\b(?:token|limit|detail|durable|audit|only|counts|calls|traces|state|target|concurrent|adaptive|task|source|batch|repair)\b",
            re.sub(r"\(.*?\)", "", header[1], flags=re.DOTALL),
        )
    )
    assert told == set(re.findall(r"\boptions\.(\w+)", scripts.source(name)))


@pytest.mark.parametrize("name", VERBS)
def test_a_header_tells_which_arguments_a_script_reads(name: str) -> None:
    text = scripts.read(name)
    told = {
        int(number) for number in re.findall(r"^-- (?:ARGV)? +(\d+)(?:…|,)? ", text, re.MULTILINE)
    }
    told |= {int(number) for number in re.findall(r", (\d+) ", _header(text))}
    read = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", text)} | {
        int(number) for number in re.findall(r"for \w+ = (\d+), #ARGV", text)
    }
    assert told == read | {1}
    assert "KEYS" not in _code(name)
    assert "-- KEYS" in text
    assert "-- returns" in text


def _header(text: str) -> str:
    start = text.index("-- ARGV")
    return text[start : text.index("-- returns")]


@pytest.mark.parametrize("name", FILES)
def test_a_file_knows_no_key_and_no_global_of_its_own(name: str) -> None:
    text = scripts.read(name)
    assert "{stopline}" not in text
    assert not re.search(r"^\s*function \w+", text, re.MULTILINE)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_that_gathers_changes_commits_them_last(name: str) -> None:
    text = scripts.read(name)
    commits = len(re.findall(r"^commit\(\)$", text, re.MULTILINE))
    assert commits == ("commit" in scripts.parts_of(name) and name != "rehearse")
    if commits:
        assert re.search(r"^commit\(\)\nreturn .*\n\Z", text, re.MULTILINE)


def test_options_are_those_that_scripts_read() -> None:
    read = {
        option for name in VERBS for option in re.findall(r"\boptions\.(\w+)", scripts.source(name))
    }
    limits = Limits(
        durable=True,
        upstream_failures_max=1,
        outcomes_max=1,
        counts=True,
        recent_max=1,
        gate=GateLimits(
            breaker=(1, 1), rate=Rate(1, 1), concurrent=1, adaptive=True, retry_budget=True
        ),
    ).to_options()
    assert set(limits) <= read
    own = {"token", "suspect_room", "limit", "detail", "expire_late", "queues_here"}
    own |= {
        "audit",
        "audit_max",
        "only",
        "look_max",
        "state",
        "target",
        "source",
        "task",
        "batch",
        "repair",
        "calls",
        "traces",
        "events_max",
    }
    assert read == set(limits) | own


@pytest.mark.parametrize(
    "layout", [layouts.RECORD, layouts.TARGET, layouts.GATE], ids=lambda one: one.name
)
def test_the_rare_fields_of_a_record_are_optional(layout: layouts.Layout) -> None:
    optional = {layouts.Kind.OPTIONAL_TEXT, layouts.Kind.OPTIONAL_NUMBER}
    assert {field.kind for field in layout.fields[-layout.rare :]} <= optional
    names = [field.name for field in layout.fields]
    assert len(set(names)) == len(names)


def test_a_submission_has_as_many_fields_as_the_script_reads() -> None:
    request = StopRequest(user_id="u", task_id="t", idempotency_key="two\nlines")
    *fields, key = accepting._item(values.Submission(request)).split("\n", 11)
    assert key == "two\nlines"
    source = scripts.source("accept")
    read = re.search(r"function read_item\(.*?\n  local (.*?) =\s", source, re.DOTALL)
    assert read is not None
    assert len(re.findall(r"\w+", read[1])) == len(fields) + 1
    assert f"string.rep('([^\\n]*)\\n', {len(fields)})" in source


def test_every_refusal_has_its_words() -> None:
    assert {*commands.REFUSALS, RefusalKind.CONFLICT} == set(RefusalKind)
    refused = set(re.findall(r"refuse\('(\w+)'[,)]", scripts.source("redrive")))
    assert refused == {kind.value for kind in RefusalKind}


def test_lua_speaks_the_contracts_words() -> None:
    text = scripts.source("redrive") + scripts.source("settle") + scripts.source("resume")
    for word in (*OutcomeKind, *(kind for kind in ReceiptKind), *Lane):
        if word not in (OutcomeKind.REJECTED, OutcomeKind.NOT_FOUND):  # the worker's words
            assert f"'{word}'" in text or f"{word} =" in text, word


def test_what_needs_a_look_is_the_same_on_both_sides() -> None:
    found = re.search(r"local DEAD_OUTCOMES = {(.*?)}", scripts.source("settle"), re.DOTALL)
    assert found is not None
    assert set(re.findall(r"(\w+) = true", found[1])) == set(DEAD_OUTCOMES)


def test_records_of_the_version_before_are_read() -> None:
    """Fields are added at the end: a worker that is new reads what one that is old has written."""
    assert [field.name for field in layouts.RECORD.fields[:22]] == [
        *("state", "target", "target_digest", "lane", "issued_at", "wish_at", "accepted_at"),
        *("not_after", "body", "batches", "attempt", "began_at", "token", "due_at", "lost"),
        *("attempts", "joined", "joined_count", "aliases", "cancelled", "answered", "failed"),
    ]
    first = ["active", "next", "succeeded_at", "succeeded_by", "resumed_at"]
    assert [field.name for field in layouts.TARGET.fields[:5]] == first


def test_a_settlement_has_as_many_arguments_as_the_script_reads() -> None:
    command = commands.settle(_LIMITS, [values.Released("r", "e:1.1")])
    assert f"for index = 2, #ARGV, {len(command.arguments) - 1} do" in scripts.read("settle")


def test_every_key_is_in_the_catalogue() -> None:
    catalogue = keys.__doc__ or ""
    for prefix in keys.LUA_NAMES.values():
        assert f"`{prefix}" in catalogue, prefix


def test_settle_speaks_the_ledgers_words() -> None:
    text = scripts.source("settle")
    for word in values.Answer:
        assert f"'{word}'" in text, word
    for word in values.Cause:
        assert re.search(rf"^  (.* )?{word} = '", text, re.MULTILINE), word
    fields = {field.name for field in layouts.RECORD.fields}
    assert {values.Cause.ANSWERED, values.Cause.FAILED} <= fields
