"""Commands agree with their scripts."""

from __future__ import annotations

import re

import pytest

from stopline.contract import Lane, OutcomeKind, ReceiptKind, RefusalKind, StopRequest, Target
from stopline.ledger import commands, keys, queries, scripts, values
from stopline.ledger.commands import accepting

SCRIPTS = (
    "accept",
    "cancel",
    "claim",
    "claim_due",
    "discard",
    "quarantine",
    "redrive",
    "renew",
    "resume",
    "settle",
)


def _assigned(function: str, script: str) -> list[str]:
    """The names that a script's function takes its fields apart into."""
    pattern = rf"local function {function}\(.*?\n  local (.*?) =\s"
    found = re.search(pattern, scripts.source(script), re.DOTALL)
    assert found is not None
    return re.findall(r"\w+", found[1])


def _list(name: str, script: str) -> list[str]:
    found = re.search(rf"local {name} = {{(.*?)}}", scripts.source(script), re.DOTALL)
    assert found is not None
    return re.findall(r"'(\w+)'", found[1])


def test_a_record_has_the_same_fields_on_both_sides() -> None:
    assert tuple(_list("FIELDS", "claim")) == queries._RECORD_FIELDS
    assert tuple(_assigned("decode", "claim")) == queries._RECORD_FIELDS


def test_a_submission_has_as_many_fields_as_the_script_reads() -> None:
    request = StopRequest(user_id="u", task_id="t", idempotency_key="two\nlines")
    *fields, key = accepting._item(values.Submission(request)).split("\n", 11)
    assert key == "two\nlines"
    assert len(_assigned("read_item", "accept")) == len(fields) + 1
    assert f"string.rep('([^\\n]*)\\n', {len(fields)})" in scripts.source("accept")


def test_every_refusal_has_its_words() -> None:
    assert set(commands.REFUSALS) == set(RefusalKind)
    refused = set(re.findall(r"refuse\('(\w+)'\)", scripts.source("redrive")))
    assert refused == {kind.value for kind in RefusalKind}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_takes_and_gives(name: str) -> None:
    text = scripts._read(name)
    for word in ("-- KEYS", "-- ARGV", "-- returns"):
        assert word in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_knows_no_key_and_no_global_of_its_own(name: str) -> None:
    for part in (name, *("_clock", "_record", "_batch", "_finish", "_attempt", "_accept")):
        text = scripts._read(part)
        assert "{stopline}" not in text
        assert not re.search(r"^\s*function \w+", text, re.MULTILINE)


def test_lua_speaks_the_contracts_words() -> None:
    text = scripts.source("redrive") + scripts.source("settle") + scripts.source("resume")
    for word in (*OutcomeKind, *(kind for kind in ReceiptKind), *Lane):
        if word not in (OutcomeKind.REJECTED, OutcomeKind.NOT_FOUND):  # the worker's words
            assert f"'{word}'" in text or f"{word} =" in text, word


def test_all_keys_of_the_ledger_share_one_hash_tag() -> None:
    made = [
        keys.record("r"),
        keys.target(Target("u", "t")),
        keys.due(Lane.BULK),
        keys.batch("b"),
        keys.batch_places("b", "1"),
        keys.message("m"),
        keys.DEAD,
        keys.IDEMPOTENCY,
    ]
    assert all(key.startswith("{stopline}:") for key in made)


def test_digests_of_targets_differ() -> None:
    digests = {keys.target_digest(f"u/{n}") for n in range(10_000)}
    assert len(digests) == 10_000
    assert {len(one) for one in digests} == {22}
