"""The examples of README and docs do what they say: they run, on the fakes of stopline.testing."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

import stopline
from stopline.testing import AsyncFakeStopClient, FakeStopClient
from tests.support import reference
from tests.support.source_map import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(page: Path) -> list[str]:
    return _BLOCK.findall(page.read_text("utf-8"))


def test_the_page_on_testing_holds() -> None:
    namespace: dict[str, Any] = {}
    for block in _blocks(ROOT / "docs" / "testing.md"):
        exec(compile(block, "docs/testing.md", "exec"), namespace)  # our own page
    tests = [one for name, one in namespace.items() if name.startswith("test_")]
    assert len(tests) >= 3
    fixtures = {"async_stopline": AsyncFakeStopClient, "stopline": FakeStopClient}
    for test in tests:
        test(*(fixtures[name]() for name in inspect.signature(test).parameters))


def test_the_example_of_the_client_in_readme_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stopline, "StopClient", FakeStopClient)
    (example,) = [one for one in _blocks(ROOT / "README.md") if "import StopClient" in one]
    exec(compile(example, "README.md", "exec"), {})  # our own page
    assert capsys.readouterr().out.startswith("stopped The API confirmed the stop.")


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_reference_is_that_of_the_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    made = reference.PAGES[name]()
    assert (reference.PLACE / name).read_text("utf-8") == made, "run: make reference"


def test_every_page_is_in_the_site() -> None:
    listed = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {str(one.relative_to(ROOT / "docs")) for one in (ROOT / "docs").rglob("*.md")}
    assert listed == pages | {"index.md"}
