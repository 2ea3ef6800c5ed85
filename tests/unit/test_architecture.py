"""The source tree is as docs/architecture.md says, and no file or function outgrows its reader."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.support import source_map

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES_A_FILE, LINES_A_FUNCTION = 400, 50
FILES = [*source_map.files(), *sorted((source_map.ROOT / "tests").rglob("*.py"))]


def _name(path: Path) -> str:
    return str(path.relative_to(source_map.ROOT))


def test_the_map_shows_every_file_with_its_caption() -> None:
    """`make map` writes it anew."""
    page = source_map.PAGE.read_text("utf-8")
    assert source_map.made() in page
    for path in source_map.files():
        if path.name != "__init__.py":
            assert source_map.caption(path), _name(path)


def test_no_file_is_too_long() -> None:
    lengths = {_name(path): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_A_FILE} == {}


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or 0) - node.lineno + 1
        return
    name, first = "", 0
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.startswith("local function "):
            name, first = line, number
        elif line == "end" and name:
            yield name, number - first + 1
            name = ""


def test_no_function_is_too_long() -> None:
    lengths = {(_name(path), name): lines for path in FILES for name, lines in _functions(path)}
    assert {which: lines for which, lines in lengths.items() if lines > LINES_A_FUNCTION} == {}


def test_pages_lead_to_files_that_are_there() -> None:
    """Every path in backticks that looks like one of this project's."""
    for page in (source_map.PAGE, source_map.ROOT / "docs" / "testing.md"):
        for path in re.findall(
            r"`((?:producers|worker|tests|docs)/[\w/.]+)`", page.read_text("utf-8")
        ):
            assert (source_map.ROOT / path).exists(), f"{page.name}: {path}"
