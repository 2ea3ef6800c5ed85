"""Writes docs/reference/: every command, every call of the gateway; `make reference`.

A test compares the pages with what is made here, so they cannot drift.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from stopline.cli import COMMANDS
from stopline.cli.lazy import LazyCommand
from stopline.testing import AsyncFakeStopClient, World
from stopline_gateway.app import make_app
from stopline_gateway.services import Services
from stopline_gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE: Final = Path(__file__).parents[2] / "docs" / "reference"
_MADE: Final = "<!-- made by `make reference`; a test compares it with the code -->\n\n"


def commands() -> str:
    """The page of the command line."""
    parts = [f"# Commands\n\n{_MADE}`stopline COMMAND --help` tells the same.\n"]
    for name, (place, summary) in COMMANDS.items():
        command = LazyCommand(name, place, summary).loaded()
        parts += [f"\n## {name}\n\n{summary}\n", *_command(f"stopline {name}", command)]
    return "".join(parts)


def _command(path: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield f"\n### {path.removeprefix('stopline ')} {name}\n\n{_sentence(inner.help)}\n"
            yield from _command(f"{path} {name}", inner)
        return
    with typer.Context(command) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"\n```\n{path} {usage}\n```\n"
        records = [one.get_help_record(context) for one in command.params]
    rows = [one for one in records if one and "--help" not in one[0]]
    if rows:
        yield "\n| | |\n|---|---|\n"
    for names, text in rows:
        yield f"| `{_cell(names)}` | {_cell(text)} |\n"


def _cell(text: str) -> str:
    return _sentence(text).replace("|", "\\|")


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def calls() -> str:
    """The page of the gateway's calls, from its OpenAPI document."""
    services = Services.of(
        AsyncFakeStopClient(World()),
        GatewaySettings.load(),
        keeps_outcomes=True,
        call_timeout_s=20,
    )
    document = make_app(services).openapi()
    parts = [f"# Calls of the gateway\n\n{_MADE}"]
    parts.append("Bodies and replies in full are at `/openapi.json` and `/docs` of a gateway.\n")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(f"\n## {method.upper()} {path}\n\n{operation['summary']}.")
            parts.append(f" {_sentence(operation.get('description'))}\n")
            parts += _parameters(operation)
            parts.append(f"\nAnswers: {', '.join(operation['responses'])}.\n")
    return "".join(parts)


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    found = operation.get("parameters", [])
    if found:
        yield "\n| parameter | in | |\n|---|---|---|\n"
    for one in found:
        text = _sentence(one.get("description")).replace("|", "\\|")
        yield f"| `{one['name']}` | {one['in']} | {text} |\n"


PAGES: Final = {"commands.md": commands, "calls.md": calls}


def main() -> int:
    """Write both."""
    PLACE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (PLACE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
