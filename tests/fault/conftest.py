"""Gathers what came of the faults, and prints one table at the end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fault.chaos import Row

_ROWS = pytest.StashKey[list["Row"]]()
_DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
_HEAD = (
    "| fault | accepted before / during / after | outcomes | calls | lost | doubled | stuck "
    "| recovery s |\n|---|---|---|---|---|---|---|---|"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-table", action="store_true", help="Put the chaos table into docs/reliability.md."
    )


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[Row], None]:
    """Keeps a row for the table."""
    return request.config.stash.setdefault(_ROWS, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    table = "\n".join([_HEAD, *(_line(row) for row in rows)])
    terminalreporter.write_line(table)
    if config.getoption("--write-table"):
        _write(table)


def _line(row: Row) -> str:
    cells = (
        row.fault,
        f"{row.before:,} / {row.during:,} / {row.after:,}",
        f"{row.outcomes:,}",
        f"{row.calls:,}",
        row.lost,
        row.doubled,
        row.stuck,
        f"{row.recovery_s:.1f}",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _write(table: str) -> None:
    text = _DOCUMENT.read_text("utf-8")
    start, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    note = f"`make chaos`, {datetime.now(UTC):%Y-%m-%d}:"
    _DOCUMENT.write_text(f"{text[:start]}\n{note}\n\n{table}\n{text[end:]}", "utf-8")
