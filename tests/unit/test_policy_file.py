"""Files of rules and guards: read strictly, each error with file, line and field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.contract import Guard, GuardLimit
from stopline.policy_file import FILE_BYTES_MAX, PolicyFileError, read_guards

if TYPE_CHECKING:
    from pathlib import Path


def test_guards_are_read(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text('guards:\n  - source: "policy:*"\n    limit: {requests: 200, window_s: 60}\n')
    (guard,) = read_guards(file)
    assert guard == Guard(source="policy:*", limit=GuardLimit(requests=200, window_s=60))
    file.write_text("guards: []\nrules: [{anything: at all}]\n")
    assert read_guards(file) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "guards:\n  - source: a\n    limit:\n      requests: 0\n      window_s: 1",
            ":4: guards[0].limit.requests: ",
        ),
        (
            "guards:\n  - source: a\n    limits: 1\n    dry_run: true",
            ":3: guards[0].limits: this field is unknown",
        ),
        ("guards:\n  - source: a\n", ":2: guards[0]: it guards nothing"),
        ("guards:\n  - dry_run: true\n", ":2: guards[0].source: this field is required"),
        ("guards:\n  - source: a\n    source: b\n", ":3: the key 'source' stands here twice"),
        (
            "guards:\n  - {source: a, dry_run: true}\n  - {source: a, dry_run: true}\n",
            "two guards have the source 'a'",
        ),
        ("guards: [", ":1: "),
        ("guards: 3", ":1: guards: a list is needed"),
        ("guards: [3]", ":1: guards[0]"),
        ("gards: []", ":1: gards: this section is unknown"),
        ("- 1", "a mapping is needed"),
        ("", "a mapping is needed"),
        ("rules: []", "it has no guards"),
        ("guards: &x []\nrules: *x", ":1: anchors and aliases are not read"),
        ("guards: !!python/object:os.system x", "guards: a list is needed"),
        ("guards: " + "[" * 100_000, "nested more than 20 deep"),
        ("guards: [{source: !foo a}]", "guards[0]: could not determine a constructor"),
        ("guards: [{source: 2026-13-45}]", "guards[0]: month must be in 1..12"),
        ("guards: [{? [a] : 1}]", "a name is needed here"),
        ("guards: [{<<: 3, dry_run: true}]", "guards[0]: expected a mapping"),
        ("guards: \x00", "no YAML that can be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "g.yaml"
    file.write_text(text)
    with pytest.raises(PolicyFileError) as caught:
        read_guards(file)
    assert str(file) in str(caught.value)
    assert told in str(caught.value)


def test_what_is_no_file_of_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="cannot read"):
        read_guards(tmp_path)
    file = tmp_path / "g.yaml"
    file.write_bytes(b"guards: \xff")
    with pytest.raises(PolicyFileError, match="no UTF-8"):
        read_guards(file)
    file.write_bytes(b" " * (FILE_BYTES_MAX + 1))
    with pytest.raises(PolicyFileError, match="at most"):
        read_guards(file)
